"""Choose the probabilities at which labels become tags."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.quality.fbeta import BETA
from model.quality.metrics import fbeta_over_samples

# Candidates, 0.01 to 0.99 in even steps of log-odds, which are finer at the low end, where F2 has its best thresholds.
_LOG_ODDS = np.linspace(-4.6, 4.6, 93)
_CANDIDATES = 1 / (1 + np.exp(-_LOG_ODDS))

# Width of the smoothing, in log-odds: the curve of 120 images is jagged, and its highest point is luck. Measured on
# out-of-fold probabilities of 600 real chips, tuned on 120 and scored on others, mean of 192 draws: the flat threshold
# gains 0.0008 of F2 over the highest point with 0.3, 0.0015 with 0.5, 0.0017 with 0.7. Wider is too blunt for large
# sets: on 1,000 simulated images 0.3 gains 0.0010, 0.5 gains 0.0007, 0.7 nothing, and 1.0 loses 0.003.
_SMOOTHING = 0.5

# Penalty for moving a label's threshold from the flat one by 1 in log-odds (from 0.2 to 0.4), in images whose score
# would rise from 0 to 1. Gain of a threshold per label over the flat one on other images, with 1, 2 and 5: nothing on
# 120 real chips, whose labels are calibrated alike, whatever the penalty; mean of 40 simulations tuned on 120 images
#   -0.0010, -0.0005, -0.0002 where labels are calibrated alike, +0.007, +0.005, +0.002 where they differ by 0.8;
# and tuned on 1,000
#   -0.0009, -0.0006, -0.0004 and +0.015, +0.013, +0.009.
_PULL = 2.0

# Rounds over the labels: two to four suffice. The limit is needed in case smoothed curves alternate.
_ROUNDS = 10


class Thresholds(NamedTuple):
    """The least probability of a tag.

    Attributes:
      flat: one for all labels.
      each: float64 [L], one per label.
    """

    flat: float
    each: NDArray[np.float64]


def best_flat(truth: NDArray[np.bool_], probabilities: NDArray[np.float32], beta: float = BETA) -> float:
    """Find the single threshold for all labels that gives these very images the best F-beta over samples.

    Takes truth bool [N, L] and probabilities float32 [N, L]; searches 0.01 to 0.99 in steps of 0.01. If several are
    equally good, returns the middle one. It flatters: `tune` finds one that holds up better on other images.
    """
    grid = np.arange(1, 100) / 100
    return float(grid[_middle_of_highest(_flat_curve(truth, probabilities, grid, beta))])


def tune(
    truth: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    beta: float = BETA,
    judged: NDArray[np.bool_] | None = None,
) -> Thresholds:
    """Tune thresholds for F-beta over samples so that they hold up on images other than these.

    First the flat threshold: the highest point of the smoothed score curve. From there each label's own, one label
    after another with the rest fixed, until none moves: the one with the largest gain, minus a pull toward the flat
    threshold. The gain is summed over images and the pull is not, so a label moves as far as its images justify. A
    label without positives, or that is not judged, keeps the flat threshold; all thresholds are from 0.01 to 0.99.

    The pull is needed because the best threshold of a few positives is extreme by chance, and does harm on other
    images. For measurements of pull and smoothing see `_PULL` and `_SMOOTHING`.

    Args:
      truth: bool [N, L], N at least 1.
      probabilities: float32 [N, L], 0 to 1.
      beta: recall weighs beta^2 times as much as precision.
      judged: bool [L], the labels of which it is known which images have them; None for all.
    """
    if judged is not None and not judged.all():
        tuned = tune(truth[:, judged], probabilities[:, judged], beta)
        each = np.full(truth.shape[1], tuned.flat)
        each[judged] = tuned.each
        return Thresholds(tuned.flat, each)
    flat_at = _middle_of_highest(_smooth(_flat_curve(truth, probabilities, _CANDIDATES, beta)))
    pull = _PULL * (_LOG_ODDS - _LOG_ODDS[flat_at]) ** 2
    # The number of candidates that each probability reaches; in float32, as in prediction.
    reached = np.searchsorted(_CANDIDATES.astype(np.float32), probabilities, side="right")
    chosen_at = np.full(truth.shape[1], flat_at)
    for _ in range(_ROUNDS):
        before = chosen_at.copy()
        for label in np.flatnonzero(truth.any(axis=0)):
            others = reached > chosen_at
            others[:, label] = False
            curve = _label_curve(truth, others, int(label), reached[:, label], beta)
            chosen_at[label] = np.argmax(_smooth(curve) - pull)
        if (chosen_at == before).all():
            break
    return Thresholds(float(_CANDIDATES[flat_at]), _CANDIDATES[chosen_at])


def _flat_curve(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], grid: NDArray[np.float64], beta: float
) -> NDArray[np.float64]:
    """Compute the score of each threshold in the grid, applied to all labels in float32, as in prediction."""
    return np.array(
        [fbeta_over_samples(truth, probabilities >= threshold, beta) for threshold in grid.astype(np.float32)]
    )


def _label_curve(
    truth: NDArray[np.bool_], others: NDArray[np.bool_], label: int, reached: NDArray[np.int64], beta: float
) -> NDArray[np.float64]:
    """Compute the gain of each candidate threshold of a label over never giving the label, summed over images.

    Args:
      truth: bool [N, L].
      others: bool [N, L], the tags of all other labels; the label's own column is False.
      label: its column.
      reached: int64 [N], the number of candidates that the label's probability reaches.
      beta: of the score.
    """
    weight = beta**2
    hits = (truth & others).sum(axis=1)
    tags = weight * truth.sum(axis=1) + others.sum(axis=1)
    without = np.divide((1 + weight) * hits, tags, out=np.ones(len(truth)), where=tags > 0)
    gain = (1 + weight) * (hits + truth[:, label]) / (tags + 1) - without
    gain_by_reach = np.bincount(reached, weights=gain, minlength=len(_CANDIDATES) + 1)
    # A candidate gives the label to the images that reach it or a higher one. The cast is for NumPy's types, which take
    # every bincount for integers.
    return np.asarray(np.cumsum(gain_by_reach[::-1])[::-1][1:], np.float64)


def _smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average each candidate's value with those around it, by a Gaussian in log-odds."""
    kernel = np.exp(-0.5 * ((_LOG_ODDS[:, None] - _LOG_ODDS) / _SMOOTHING) ** 2)
    smoothed: NDArray[np.float64] = kernel @ curve / kernel.sum(axis=1)
    return smoothed


def _middle_of_highest(curve: NDArray[np.float64]) -> int:
    # Few validation images give a plateau of equal scores; its middle holds up best on other images.
    highest = np.flatnonzero(curve >= curve.max() - 1e-12)
    return int(highest[len(highest) // 2])
