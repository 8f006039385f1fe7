"""Choose the probability from which a label counts as a tag."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.quality.metrics import fbeta_over_samples

# Candidates, 0.01 to 0.99 in even steps of log-odds, which are finer where F2 wants its thresholds: at the low end.
_LOG_ODDS = np.linspace(-4.6, 4.6, 93)
_CANDIDATES = 1 / (1 + np.exp(-_LOG_ODDS))

# How far, in log-odds, neighbours support a candidate: the curve of 120 images is jagged, its highest point luck.
# Measured on out-of-fold probabilities of 600 real chips, tuned on 120 and judged on others, mean of 192 draws: the
# flat threshold gains 0.0008 of F2 over the highest point with 0.3, 0.0015 with 0.5, 0.0017 with 0.7. Wider is too
# blunt for large sets: on 1,000 simulated images 0.3 gains 0.0010, 0.5 gains 0.0007, 0.7 nothing, and 1.0 loses 0.003.
_SMOOTHING = 0.5

# What it costs a label to leave the flat threshold by 1 in log-odds (from 0.2 to 0.4), in images whose score would
# rise from 0 to 1. What a label's own threshold gains over the flat one on other images, with 1, 2 and 5: nothing on
# 120 real chips, whose labels are calibrated alike, whatever the pull; mean of 40 simulations tuned on 120 images
#   -0.0010, -0.0005, -0.0002 where labels are calibrated alike, +0.007, +0.005, +0.002 where they differ by 0.8;
# and tuned on 1,000
#   -0.0009, -0.0006, -0.0004 and +0.015, +0.013, +0.009.
_PULL = 2.0

# Rounds over the labels: it settles after two to four. A limit is needed where smoothed curves take turns.
_ROUNDS = 10


class Thresholds(NamedTuple):
    """The least probability of a tag.

    Attributes:
      flat: the same for all labels.
      each: float64 [L], one a label.
    """

    flat: float
    each: NDArray[np.float64]


def best_flat(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> float:
    """Find the one threshold for all labels that gives these very images the best F2 over samples.

    Takes truth bool [N, L] and probabilities float32 [N, L]; searches 0.01 to 0.99 in steps of 0.01. The middle of the
    best, where several are equally good. It flatters: `tune` finds one that holds better on other images.
    """
    grid = np.arange(1, 100) / 100
    return float(grid[_middle_of_highest(_flat_curve(truth, probabilities, grid, beta=2.0))])


def tune(truth: NDArray[np.bool_], probabilities: NDArray[np.float32], beta: float = 2.0) -> Thresholds:
    """Tune thresholds for F-beta over samples, so that they hold on images other than these.

    First the flat threshold: the highest point of the smoothed curve of the score. From there each label's own, one
    label after the other with the rest held fixed, until none moves: the one that gains most, less a pull toward the
    flat threshold. The gain is summed over images, the pull is not: a label moves as far as its images bear witness.
    One without positives keeps the flat threshold; all are from 0.01 to 0.99.

    Why a pull: the best threshold of a few positives is extreme by chance, and does harm on other images. What it and
    the smoothing gain was measured, see `_PULL` and `_SMOOTHING`.

    Args:
      truth: bool [N, L], N at least 1.
      probabilities: float32 [N, L], 0 to 1.
      beta: recall weighs beta^2 times precision.
    """
    flat_at = _middle_of_highest(_smooth(_flat_curve(truth, probabilities, _CANDIDATES, beta)))
    pull = _PULL * (_LOG_ODDS - _LOG_ODDS[flat_at]) ** 2
    # For each probability the number of candidates that it reaches; in float32, as tags are chosen.
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
    """Compute the score of each threshold of the grid, applied to all labels."""
    return np.array([fbeta_over_samples(truth, probabilities >= threshold, beta) for threshold in grid])


def _label_curve(
    truth: NDArray[np.bool_], others: NDArray[np.bool_], label: int, reached: NDArray[np.int64], beta: float
) -> NDArray[np.float64]:
    """Compute what each candidate as a label's threshold gains, summed over images, beside never giving the label.

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
    # A candidate gives the label to the images that reach it or a higher one.
    # NumPy's types take every count for one of integers.
    return np.asarray(np.cumsum(gain_by_reach[::-1])[::-1][1:], np.float64)


def _smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average each candidate's value with those around it, by a Gaussian in log-odds."""
    kernel = np.exp(-0.5 * ((_LOG_ODDS[:, None] - _LOG_ODDS) / _SMOOTHING) ** 2)
    smoothed: NDArray[np.float64] = kernel @ curve / kernel.sum(axis=1)
    return smoothed


def _middle_of_highest(curve: NDArray[np.float64]) -> int:
    # Few validation images give a plateau of equal scores: its middle holds best on other images.
    highest = np.flatnonzero(curve >= curve.max() - 1e-12)
    return int(highest[len(highest) // 2])
