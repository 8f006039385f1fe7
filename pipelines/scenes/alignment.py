"""Whether the pixels of two files lie on one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.scenes.rings import Points

_APART = 0.02
"""Pixels by which files may be offset from one another: programs round."""


def corners(transform: Sequence[float], width: int, height: int) -> Points:
    """Return where the corners of an image lie.

    Args:
      transform: a, b, c, d, e, f, as in `Georeference`.
      width: columns of the image.
      height: rows of it.
    """
    a, b, c, d, e, f = transform
    pixels = ((0, 0), (width, 0), (0, height), (width, height))
    return [(a * column + b * row + c, d * column + e * row + f) for column, row in pixels]


def lie_together(points: Points, others: Points, transform: Sequence[float]) -> bool:
    """Return whether corners lie where those of a different file do.

    Args:
      points: corners of one file.
      others: those of the other, in the same coordinate reference system.
      transform: of one of them, which says how large its pixels are.
    """
    pixel = min(math.hypot(transform[0], transform[3]), math.hypot(transform[1], transform[4]))
    # Also false where a point is infinite.
    return all(math.dist(point, other) <= _APART * pixel for point, other in zip(points, others, strict=True))
