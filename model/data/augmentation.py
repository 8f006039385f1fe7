"""Vary training images in ways that keep their labels true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.data import Augment

# By how an image is turned: an even choice among these numbers of `turn`.
_TURNS: dict[Augment, tuple[int, ...]] = {"orientations": tuple(range(8)), "flips": (0, 4), "none": (0,)}
# How far an image may vary. A larger crop would cut off small things at the edges (a road, a house) but keep their
# label.
LARGEST_CROP = 0.3
LARGEST_CONTRAST = 0.1
LARGEST_BRIGHTNESS = 6.4


def vary(image: NDArray[np.uint8], rng: np.random.Generator, augment: Augment = "orientations") -> NDArray[np.uint8]:
    """Turn, crop and relight a square image uint8 [S, S, 3] at random; the result is of the same size.

    With "flips", images are mirrored and not turned, for pictures that have a top; with "none", nothing is done.

    Seen from above, no orientation is more natural than another; haze and sun change contrast and brightness; and
    cropping shifts and enlarges the scene. On 360 held-out chips of the Planet set, orientations alone gave an F2 over
    samples that was lower by 0.007.
    """
    if augment == "none":
        return image
    side = len(image)
    seen = side * rng.uniform(1 - LARGEST_CROP, 1)
    left, top = rng.uniform(0, side - seen, size=2)
    contrast = rng.uniform(1 - LARGEST_CONTRAST, 1 + LARGEST_CONTRAST)
    brightness = rng.uniform(-LARGEST_BRIGHTNESS, LARGEST_BRIGHTNESS)
    levels = np.clip(np.arange(256) * contrast + brightness, 0, 255).round().astype(int).tolist()
    turns = _TURNS[augment]
    turned = np.ascontiguousarray(turn(image, turns[int(rng.integers(len(turns)))]))
    box = (left, top, left + seen, top + seen)
    cropped = Image.fromarray(turned).resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(cropped.point(levels * 3))


def turn(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return a square image uint8 [S, S, 3] in one of its 8 orientations (0 to 7: 4 rotations, then mirrored)."""
    rotated = np.rot90(image, orientation % 4)
    return rotated[:, ::-1] if orientation >= 4 else rotated
