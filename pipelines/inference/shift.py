"""Compare the images of a run with those that its model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import quantity
from pipelines.images.appearance import HIGHEST, MEASURES
from pipelines.images.rendering import COLOURS
from pipelines.inference.reference import Reference

Verdict = Literal["alike", "unlike", "unknown"]
LEAST_IMAGES = 30
"""Of fewer images, nobody can tell whether they are like the training images: a scene is always unlike a set."""

TOLERANCE = 5.0
"""Distance of the means of many images at which they are unlike the training images. With the Planet set, images of one
kind, such as all its hazy ones, are at 1 to 3 (all cloudy ones at 6.6); recompressed as JPEG of quality 75 at 3.3; at
0.7 of their brightness at 5.8; and all images that a model should not see, at 12 and more."""

_NOTABLE = 1.0
"""Deviations of single images by which their means must differ in a respect for it to be named."""
_MOST_NAMED = 3
_MOST_IMAGES = 1 << 53
"""Numbers up to which integers are exact as floats."""


class Seen(NamedTuple):
    """What was measured of some images; two of them add up.

    Attributes:
      images: number of images.
      sums: of each of `appearance.MEASURES` over the images; empty if there are none.
    """

    images: int = 0
    sums: tuple[float, ...] = ()

    def and_also(self, other: Seen) -> Seen:
        """Return what was measured of the images of both."""
        if not (self.images and other.images):
            return self if self.images else other
        return Seen(
            self.images + other.images, tuple(ours + theirs for ours, theirs in zip(self.sums, other.sums, strict=True))
        )

    def of_at_most(self, images: int) -> Seen:
        """Return what was measured of so many of the images, taken to be like all of them."""
        if images >= self.images:
            return self
        return Seen(images, tuple(images * one / self.images for one in self.sums)) if images else Seen()

    @property
    def means(self) -> NDArray[np.float64]:
        """The means of the measures, float64[K]."""
        return np.array(self.sums) / self.images


@dataclass(frozen=True)
class Shift:
    """How images differ from those that the model was trained on.

    Attributes:
      verdict: `unknown` if there are too few images, or if the bundle does not say what it was trained on.
      respects: how they differ, in words, if they are unlike.
      images: that were compared.
      distance: of their means from those of the training images.
      limit: distance at which they are unlike.
    """

    verdict: Verdict
    respects: tuple[str, ...] = ()
    images: int = 0
    distance: float = 0.0
    limit: float = 0.0

    def described(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        compared = {"verdict": self.verdict, "respects": list(self.respects), "images": self.images}
        return compared | ({"distance": round(self.distance, 3), "limit": round(self.limit, 3)} if self.limit else {})

    def __str__(self) -> str:
        if self.verdict == "alike":
            return "the images look like those that the model was trained on"
        if self.verdict == "unknown":
            why = (
                f"at least {LEAST_IMAGES} are needed, and {quantity(self.images, 'was', 'were')} compared"
                if self.images
                else "the bundle has no statistics of its training images, or no image was compared"
            )
            return f"cannot tell whether the images look like those that the model was trained on: {why}"
        times = self.distance / self.limit
        certainty = f"{times:,.0f} times the limit" if times >= 2 else "a little over the limit"
        return (
            f"the images are UNLIKE those that the model was trained on ({certainty}): {'; '.join(self.respects)}. The "
            f"model's probabilities may mean nothing"
        )


class _Respect(NamedTuple):
    """A respect in which images can differ.

    Attributes:
      weights: by measure.
      less: what images are if the weighted sum of their measures is smaller.
      more: likewise, if it is larger.
    """

    weights: Mapping[str, float]
    less: str
    more: str


_RESPECTS = (
    _Respect(dict.fromkeys(COLOURS, 1 / 3), "darker", "brighter"),
    _Respect({"red": 1, "green": -1}, "less red, compared with green", "more red, compared with green"),
    _Respect({"blue": 1, "green": -1}, "less blue, compared with green", "more blue, compared with green"),
    _Respect({f"contrast_{name}": 1 / 3 for name in COLOURS}, "lower in contrast", "higher in contrast"),
    _Respect(
        dict.fromkeys(("contrast_red_green", "contrast_green_blue", "contrast_red_blue"), 1 / 3),
        "paler, or gray",
        "more colourful",
    ),
    _Respect(
        {"roughness_1": 1, "roughness_8": -1},
        "smoother from pixel to pixel, as if blurred, magnified or of a coarser resolution",
        "rougher from pixel to pixel, as if noisy, sharpened or of a finer resolution",
    ),
    _Respect({"roughness_8": 1}, "poorer in texture", "richer in texture"),
    _Respect({"blank": 1}, "less often blank", "flat in parts: blank, saturated, or heavily compressed"),
)


def compare(reference: Reference | None, seen: Seen) -> Shift:
    """Compare images with those that a model was trained on.

    Args:
      reference: of the model's bundle; None if it has none.
      seen: of the images.
    """
    if reference is None or seen.images < LEAST_IMAGES:
        return Shift("unknown", images=seen.images)
    limit = TOLERANCE + reference.spread / seen.images
    distance = _distance(reference, seen.means)
    if distance <= limit:
        return Shift("alike", (), seen.images, distance, limit)
    respects = _confusions(reference, seen.means, limit) or _differences(reference, seen.means)
    return Shift("unlike", tuple(respects), seen.images, distance, limit)


def _distance(reference: Reference, means: NDArray[np.float64]) -> float:
    return float(reference.distance(means[np.newaxis])[0])


def _confusions(reference: Reference, means: NDArray[np.float64], limit: float) -> list[str]:
    """Name the confusion of colours without which the images would be alike, if there is one."""
    for name, undone in _undo_confusions(means):
        if _distance(reference, undone) <= limit:
            return [name]
    return []


def _undo_confusions(means: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    measured = dict(zip(MEASURES, means, strict=True))
    for order in permutations(COLOURS):
        changed = [name for name, was in zip(COLOURS, order, strict=True) if name != was]
        if changed:
            what = "exchanged" if len(changed) == 2 else "in another order"
            renamed = dict(zip(COLOURS, order, strict=True))
            yield (
                f"{', '.join(changed[:-1])} and {changed[-1]} look {what}",
                np.array([measured[_rename(name, renamed)] for name in MEASURES]),
            )
    inverted = {name: HIGHEST - measured[name] for name in COLOURS}
    yield "the colours look inverted", np.array([inverted.get(name, measured[name]) for name in MEASURES])


def _rename(measure: str, renamed: Mapping[str, str]) -> str:
    """Return the name of a measure once the channels have other names."""
    kind, *channels = measure.split("_")
    if not channels:
        return renamed.get(kind, kind)
    if kind != "contrast":
        return measure
    # Of two channels, the order does not matter, and each pair has one name.
    now = {renamed[channel] for channel in channels}
    return next(name for name in MEASURES if name.startswith(kind) and set(name.split("_")[1:]) == now)


def _differences(reference: Reference, means: NDArray[np.float64]) -> list[str]:
    """Name the respects in which the means differ most."""
    covariances, differs = np.array(reference.covariances), means - np.array(reference.means)
    found = []
    for respect in _RESPECTS:
        weights = np.array([respect.weights.get(name, 0.0) for name in MEASURES])
        # Of a respect in which training images do not vary, rounding may leave less than 0.
        deviation = max(float(weights @ covariances @ weights), 1e-6) ** 0.5
        found.append((float(weights @ differs) / deviation, respect))
    found.sort(key=lambda one: -abs(one[0]))
    named = [
        f"{respect.more if deviations > 0 else respect.less} ({abs(deviations):.1f} standard deviations)"
        for deviations, respect in found[:_MOST_NAMED]
        if abs(deviations) >= _NOTABLE
    ]
    return named or ["their colours and texture are combined differently from those of the training images"]


def describe(reference: Reference | None, seen: Seen) -> dict[str, Any]:
    """Compare images, and return the comparison as JSON, with what `read_seen` needs; arguments as for `compare`."""
    compared = compare(reference, seen).described()
    return compared | ({"sums": dict(zip(MEASURES, seen.sums, strict=True))} if seen.images else {})


def read_seen(compared: Mapping[str, Any]) -> Seen:
    """Read from the JSON of a comparison what was measured of its images.

    Raises:
      ValueError: nothing that was measured adds up to it.
    """
    images, sums = compared.get("images"), compared.get("sums", {})
    if list(sums) != list(MEASURES):
        return Seen()
    if type(images) is not int or not 0 < images <= _MOST_IMAGES:
        raise ValueError("sums of an impossible number of images")
    # No comparison holds for NaN.
    if not all(type(one) in (int, float) and abs(one) <= HIGHEST * images for one in sums.values()):
        raise ValueError("impossible sums")
    return Seen(images, tuple(map(float, sums.values())))
