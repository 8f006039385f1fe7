"""Judge by labelled images whether a model's outputs stand for the labels that the user has named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.foreign.judging import Doubt
from model.quality.fbeta import title
from model.quality.metrics import fbeta_over_samples
from model.quality.thresholds import best_flat

# A label that fewer images have, or lack, fits some output by chance.
_LEAST_IMAGES = 10
# Mean areas under ROC curves: of the outputs that fit best, and by how much they must fit better than those named. Of
# 16 outputs that mean nothing, those that fit best have about 0.65 on 150 images, and the named ones 0.5.
_FIT = 0.75
_BETTER = 0.2


def find_disorder(names: Sequence[str], truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Doubt | None:
    """Say that the outputs tell other labels than those that they are named for, if they do.

    Args:
      names: L labels.
      truth: bool [N, L].
      probabilities: float32 [N, L].
    """
    chosen = np.flatnonzero(_tell_apart(truth))
    if len(chosen) < 2:
        return None
    areas = _areas(truth[:, chosen], probabilities)
    found = _assign(areas)
    own, best = areas[np.arange(len(chosen)), chosen], areas[np.arange(len(chosen)), found]
    if best.mean() < _FIT or best.mean() - own.mean() < _BETTER:
        return None
    worst = int((best - own).argmax())
    return Doubt(
        f"other outputs than those named for them tell the labels, such as that of {names[found[worst]]} for "
        f"{names[chosen[worst]]}",
        "the order of --labels is probably another",
    )


def find_ignorance(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], thresholds: NDArray[np.float64], beta: float
) -> Doubt | None:
    """Say that tags at tuned thresholds are no better than the same ones for every image, if they are not.

    Nothing can be said of a few images, or of such as have the same labels: of these, the best tags are the same ones.
    Arguments are those of `find_disorder`; thresholds are float64 [L].
    """
    if not _tell_apart(truth).any():
        return None
    fbeta = fbeta_over_samples(truth, probabilities >= thresholds.astype(np.float32), beta)
    frequencies = np.broadcast_to(truth.mean(axis=0, dtype=np.float32), truth.shape)
    same = fbeta_over_samples(truth, frequencies >= np.float32(best_flat(truth, frequencies, beta)), beta)
    if fbeta > same:
        return None
    return Doubt(
        f"{title(beta)} over samples is {fbeta:.3f}, and {same:.3f} for giving every image the most frequent labels",
        "check --scaling, the order of --labels, and that these are images for which it was made",
    )


def _tell_apart(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which labels, bool [L], enough images have and enough lack."""
    positives = truth.sum(axis=0)
    return np.asarray((positives >= _LEAST_IMAGES) & (len(truth) - positives >= _LEAST_IMAGES), np.bool_)


def _areas(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the area under the ROC curve of each output for each label, float64 [K, L], by the ranks of Mann-Whitney.

    Takes truth bool [N, K] and probabilities float32 [N, L].
    """
    ranks = np.empty(probabilities.shape)
    for output in range(probabilities.shape[1]):
        _, at, counts = np.unique(probabilities[:, output], return_inverse=True, return_counts=True)
        # Equal ones share the middle of their ranks.
        ranks[:, output] = (np.cumsum(counts) - (counts - 1) / 2)[at]
    positives = truth.sum(axis=0)[:, None]
    above = truth.T.astype(np.float64) @ ranks - positives * (positives + 1) / 2
    return np.asarray(above / (positives * (len(truth) - positives)), np.float64)


def _assign(areas: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return an output for each label, int64 [K], none for two: the largest areas first."""
    left, found = areas.copy(), np.zeros(len(areas), np.int64)
    for _ in range(len(areas)):
        label, output = np.unravel_index(int(left.argmax()), left.shape)
        found[label] = output
        left[label], left[:, output] = -1, -1
    return found
