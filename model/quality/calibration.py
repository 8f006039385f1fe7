"""Correct probabilities so that a label given 0.3 is there in 3 of 10 images, as learnt from held-out images.

A correction divides all log-odds by one temperature and adds a bias. Both are linear, so the head's weights take them
up, and prediction has no more to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ExitCode, ScenetagsError, quantity

FOLDS = 5
# Fewer images with the label, or without it, say next to nothing about a bias of its own.
MIN_IMAGES = 10

# Penalties for a label whose bias differs from the common one, in images; cross-validation chooses. On 600 real chips,
# fitted on 96 or 97 and measured on 120 others, five times: error 0.0215 and log loss 0.1594 uncorrected; 0.0119 and
# 0.1450 with a temperature alone; 0.0047 and 0.1423 with a common bias; 0.0055 and 0.1428 as it is here.
_COMMON_BIAS = 1e12
_PULLS = (_COMMON_BIAS, 30.0, 10.0, 3.0)
# Penalty that keeps the temperature near 1 and the common bias near 0 if there are only a few held-out images, which
# extreme values may fit best. A hundred images outweigh it many times over.
_HOLD = 10.0
_LEAST_SCALE = 0.05
_STEPS = 50
# Shares of a step that are tried, the whole one first.
_SHARES = tuple(0.5**halvings for halvings in range(20))
# Gain of log loss per image below which a minimum is reached.
_ENOUGH = 1e-9
# In float32 a probability may be 0 or 1, though no log-odds are infinite.
_LEAST, _MOST = 1e-30, 1 - 2.0**-25


class NotANumberError(ScenetagsError):
    """A network that gives NaN; the message is one line for the user."""

    exit_code = ExitCode.STOPPED


class Correction(NamedTuple):
    """A change of log-odds: divided by the temperature, then moved by the biases.

    Attributes:
      temperature: above 1 for probabilities that were too extreme, below 1 for those that were too timid.
      biases: float64 [L].
    """

    temperature: float
    biases: NDArray[np.float64]

    def apply(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Correct probabilities, float32 [N, L]."""
        return _sigmoid(self.move(_log_odds(probabilities))).astype(np.float32)

    def move(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correct log-odds, float64 [..., L]."""
        return log_odds / self.temperature + self.biases

    def undo(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what corrected probabilities, float32 [N, L], were before."""
        return _sigmoid((_log_odds(probabilities) - self.biases) * self.temperature).astype(np.float32)


@dataclass(frozen=True)
class Calibration:
    """The correction of a network, and what shows how good it is.

    Attributes:
      correction: fitted on all held-out images; the network has it.
      without_fold: for each fold of the held-out images, a correction fitted on those outside it.
      enough: bool [L], whether the held-out images are enough for a bias of the label's own.
      own_biases: whether such labels have one; otherwise all share one.
    """

    correction: Correction
    without_fold: tuple[Correction, ...]
    enough: NDArray[np.bool_]
    own_biases: bool

    def uncalibrated(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what a calibrated model's probabilities, float32 [N, L], would be without the correction."""
        return self.correction.undo(probabilities)

    def cross_fitted(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated probabilities of the held-out images that do not flatter, float32 [M, L].

        Each image has the correction that was fitted without its fold.

        Args:
          probabilities: float32 [M, L], those of the calibrated model, on the held-out images in their order.
        """
        before = self.uncalibrated(probabilities)
        after = np.empty_like(before)
        for fold, correction in zip(_folds(len(before)), self.without_fold, strict=True):
            after[fold] = correction.apply(before[fold])
        return after


def fit(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], judged: NDArray[np.bool_] | None = None
) -> Calibration:
    """Find the correction that is best for images other than these; it may be none.

    Temperature and biases minimize the log loss, plus a penalty on the squared differences of the labels' biases from
    a common one. Cross-validation chooses the penalty, which may be so high that all labels share one bias. Those with
    fewer than `MIN_IMAGES` images that have them, or lack them, always do, and so do those that are not judged.

    Args:
      truth: bool [M, L], M at least 1.
      probabilities: float32 [M, L], of an uncalibrated network.
      judged: bool [L], the labels of which it is known which images have them; None for all.

    Raises:
      NotANumberError: a probability is NaN.
    """
    undefined = int(np.isnan(probabilities).any(axis=1).sum())
    if undefined:
        # Every loss would be NaN, which is never less than another: nothing would be corrected, without a word.
        raise NotANumberError(
            f"the network returns NaN for {undefined:,} of {quantity(len(probabilities), 'held-out image')}",
            "train with a larger --batch_size or different --weights",
        )
    log_odds = _log_odds(probabilities)
    judged = np.ones(truth.shape[1], np.bool_) if judged is None else judged
    enough = judged & (np.minimum(truth.sum(axis=0), (~truth).sum(axis=0)) >= MIN_IMAGES)
    folds = _folds(len(truth))
    outside = [(np.delete(log_odds, fold, axis=0), np.delete(truth, fold, axis=0)) for fold in folds]
    unchanged = Correction(1.0, np.zeros(truth.shape[1]))
    best = Calibration(unchanged, (unchanged,) * len(folds), enough, False)
    least = _loss(log_odds[:, judged], truth[:, judged])
    for pull in _PULLS:
        pulls = np.where(enough, pull, _COMMON_BIAS)
        without_fold = tuple(_minimize(*examples, pulls, judged) for examples in outside)
        loss = sum(
            _loss(correction.move(log_odds[fold])[:, judged], truth[fold][:, judged])
            for fold, correction in zip(folds, without_fold, strict=True)
        )
        if loss < least:
            own_biases = pull < _COMMON_BIAS and bool(enough.any())
            best = Calibration(_minimize(log_odds, truth, pulls, judged), without_fold, enough, own_biases)
            least = loss
    return best


def _folds(images: int) -> list[NDArray[np.int64]]:
    """Deal the held-out images to folds at random, always in the same way."""
    order = np.random.default_rng(0).permutation(images)
    return [order[first::FOLDS] for first in range(min(FOLDS, images))]


def _minimize(
    log_odds: NDArray[np.float64],
    truth: NDArray[np.bool_],
    pulls: NDArray[np.float64],
    judged: NDArray[np.bool_],
) -> Correction:
    """Minimize the penalized log loss of the judged labels by Newton's method, halving steps that lead up.

    The parameters: a factor of the log-odds, the common bias, and the difference of each label's bias from it.
    """
    log_odds, truth, pulls = log_odds[:, judged], truth[:, judged], pulls[judged]
    held = np.concatenate([[_HOLD, _HOLD], pulls])
    start = np.concatenate([[1.0, 0.0], np.zeros(len(pulls))])

    def move(at: NDArray[np.float64]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = at[0] * log_odds + at[1] + at[2:]
        return moved

    def penalized(at: NDArray[np.float64]) -> float:
        return _loss(move(at), truth) + float((held / 2 * (at - start) ** 2).sum())

    at, value = start, penalized(start)
    for _ in range(_STEPS):
        step = _newton_step(log_odds, truth, _sigmoid(move(at)), held * (at - start), held)
        for share in _SHARES:
            tried = at + share * step
            tried[0] = max(_LEAST_SCALE, tried[0])
            reached = penalized(tried)
            if reached < value:
                break
        else:
            break
        gained, at, value = value - reached, tried, reached
        if gained < _ENOUGH * len(truth):
            break
    biases = np.full(len(judged), at[1])
    biases[judged] += np.where(pulls < _COMMON_BIAS, at[2:], 0.0)
    return Correction(float(1 / at[0]), biases)


def _newton_step(
    log_odds: NDArray[np.float64],
    truth: NDArray[np.bool_],
    given: NDArray[np.float64],
    pulled: NDArray[np.float64],
    held: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the step to the minimum of the parabola through a point; slope and curvature of the penalty are given."""
    errors, weights = given - truth, given * (1 - given)
    of_factor, of_label = weights * log_odds, weights.sum(axis=0)
    slopes = np.concatenate([[(errors * log_odds).sum(), errors.sum()], errors.sum(axis=0)]) + pulled
    curvatures = np.diag(held + np.concatenate([[(of_factor * log_odds).sum(), of_label.sum()], of_label]))
    curvatures[0, 1:] = curvatures[1:, 0] = np.append(of_factor.sum(), of_factor.sum(axis=0))
    curvatures[1, 2:] = curvatures[2:, 1] = of_label
    return np.asarray(-np.linalg.solve(curvatures, slopes), np.float64)


def _loss(log_odds: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    return float((np.logaddexp(0, log_odds) - truth * log_odds).sum())


def _log_odds(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    clipped = np.clip(probabilities.astype(np.float64), _LEAST, _MOST)
    log_odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return log_odds


def _sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    given: NDArray[np.float64] = np.exp(-np.logaddexp(0, -log_odds))
    return given
