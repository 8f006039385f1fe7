"""Notice images that are far larger than those that a model was trained on.

They are shrunk to what the model takes like any other, and whatever they show is then as much smaller than what it has
learnt.
"""

from __future__ import annotations

from pipelines.errors import quantity
from pipelines.inference.bundle import Bundle

OVERSIZED = 4
"""Times the side of a usual training image. Sensors and crops of one set rarely differ by more than 2, and a scene that
somebody forgot to cut is larger by 10 and more."""


def is_oversized(width: int, height: int, bundle: Bundle) -> bool:
    """Return whether an image of so many pixels is far larger than the model's training images."""
    return min(width, height) >= OVERSIZED * _usual_side(bundle)


def count_oversized(count: int, bundle: Bundle, tile: int) -> str:
    """Say how many images are far larger than the training images, and what to do about it.

    Args:
      count: number of images, at least one.
      bundle: with which they were tagged.
      tile: side of the windows into which scenes were cut; 0 if they were not.
    """
    return f"{quantity(count, 'image is', 'images are')} {describe_oversized(bundle, tile)}"


def describe_oversized(bundle: Bundle, tile: int) -> str:
    """Say the same of one image, to be put behind its name."""
    if bundle.trained_side:
        than, size = f"the training images ({quantity(bundle.trained_side, 'pixel')})", f"{bundle.trained_side}"
    else:
        than, size = (
            f"what the model takes ({quantity(bundle.image_size, 'pixel')})",
            "with the size of the training images",
        )
    if tile and not is_oversized(tile, tile, bundle):
        remedy = "--tile cuts TIFF and JPEG 2000 files only"
    else:
        remedy = f"use --tile {size}" if tile else f"to tag windows of scenes, add --tile {size}"
    return f"at least {OVERSIZED} times as wide and high as {than}, and shrunk as a whole; {remedy}"


def _usual_side(bundle: Bundle) -> int:
    return bundle.trained_side or bundle.image_size
