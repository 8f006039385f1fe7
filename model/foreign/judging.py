"""Judge by a model's outputs whether it was given what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.foreign.scaling import STEPS, Scaling, scale
from pipelines.errors import quantity

# Fewer images say too little.
LEAST_IMAGES = 12
# Two probabilities of the same label are alike if they differ by less.
_ALIKE = 0.01
# Images that all get the same tags may well be alike, if their probabilities differ by more.
_NEAR = 0.3
# A label is certain if its probability is this close to 0 or 1.
_CERTAIN = 1e-4
# Standard errors of a mean.
_SURE = 2.0
_ANOTHER = "--scaling may be another"
_SUM = 1e-3
# Shares of two ranges that both cover.
_MISFIT = 0.6
_FIT = 0.8


class Doubt(NamedTuple):
    """A reason to believe that a model does not get what it was trained on, and what may mend it."""

    what: str
    remedy: str


def are_shares(probabilities: NDArray[np.float32]) -> bool:
    """Return whether the probabilities of each image, float32 [N, L], sum to 1, as those of a softmax do."""
    return probabilities.shape[1] > 1 and bool(np.abs(probabilities.sum(axis=1) - 1).max() < _SUM)


def find_nonsense(probabilities: NDArray[np.float32], thresholds: NDArray[np.float64]) -> Doubt | None:
    """Say why probabilities, float32 [N, L], mean nothing, if they do."""
    if len(probabilities) < LEAST_IMAGES:
        return None
    spread = float(np.ptp(probabilities, axis=0).max())
    if spread < _ALIKE:
        return Doubt(f"the probabilities of all {quantity(len(probabilities), 'image')} are alike", _ANOTHER)
    tags = probabilities >= thresholds.astype(np.float32)
    certain = (probabilities < _CERTAIN) | (probabilities > 1 - _CERTAIN)
    if certain.all():
        return Doubt("all probabilities are 0 or 1, as from a network whose inputs are too large", _ANOTHER)
    if spread < _NEAR and (tags == tags[0]).all():
        return Doubt(f"all {quantity(len(probabilities), 'image')} get the same tags", _ANOTHER)
    return None


def find_misfit(given: Scaling, input_range: tuple[float, float]) -> Doubt | None:
    """Say whether a scaling gives other numbers than those that the integers of an input stand for.

    They may reach a little less far, e.g. if the model was calibrated on dark images.
    """
    fits = {name: _overlap(input_range, _reach(name)) for name in STEPS}
    if fits[given] >= _MISFIT:
        return None
    best = max(fits, key=lambda name: fits[name])
    low, high = input_range
    return Doubt(
        f"the integers of its input stand for {low:.3g} to {high:.3g}, and --scaling {given} gives "
        f"{_reach(given)[0]:.3g} to {_reach(given)[1]:.3g}",
        f"--scaling is probably {best}" if fits[best] >= _FIT else _ANOTHER,
    )


def _reach(scaling: Scaling) -> tuple[float, float]:
    """Return the least and the greatest number that a scaling gives."""
    black_and_white = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3)
    scaled = scale(black_and_white, scaling)
    return float(scaled.min()), float(scaled.max())


def _overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return the share of two ranges together that both cover, 0 to 1."""
    together = max(first[1], second[1]) - min(first[0], second[0])
    return max(0.0, min(first[1], second[1]) - max(first[0], second[0])) / together


def find_better(
    given: Scaling, by_scaling: Mapping[Scaling, NDArray[np.float32]], truth: NDArray[np.bool_] | None
) -> Doubt | None:
    """Say which other scaling suits a model better than the given one, if one clearly does.

    With labels, by the log loss per image. Without, by how much an image's probabilities tell about it: those of a
    model that is given what it knows are certain, and differ from image to image. (In bits, per image: the entropy of
    the mean probabilities minus the mean of the entropies. Of three models with heads trained on real chips for the
    three scalings, each had the most of it with its own.)

    Args:
      given: the name of the scaling that the user gave.
      by_scaling: by name, including the given one: probabilities float32 [N, L] of the same images.
      truth: bool [N, L], their labels; None if unknown.
    """
    if len(by_scaling[given]) < LEAST_IMAGES:
        return None
    scores = {name: _scores(probabilities, truth) for name, probabilities in by_scaling.items()}
    best = max(scores, key=lambda name: float(scores[name].mean()))
    gains = scores[best] - scores[given]
    if float(gains.mean()) <= _SURE * float(gains.std(ddof=1)) / len(gains) ** 0.5:
        return None
    what = "the log loss is lower" if truth is not None else "probabilities distinguish images better"
    return Doubt(f"{what} with --scaling {best} than with {given}", f"--scaling is probably {best}")


def _scores(probabilities: NDArray[np.float32], truth: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Score each image, float64 [N]; more is better."""
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    if truth is not None:
        return np.asarray(np.log(np.where(truth, clipped, 1 - clipped)).sum(axis=1), np.float64)
    # How far an image's probabilities diverge from the mean ones; on average, the difference of entropies.
    mean = clipped.mean(axis=0)
    divergence = clipped * np.log2(clipped / mean) + (1 - clipped) * np.log2((1 - clipped) / (1 - mean))
    return np.asarray(divergence.sum(axis=1), np.float64)
