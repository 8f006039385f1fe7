"""What the tags of a TIFF say of where its pixels lie, and of when they were taken; without GDAL."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.images.tiff.tags import MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION
from pipelines.scenes.acquisition import read_taken
from pipelines.scenes.geokeys import RASTER_TYPE, Crs, UserDefined, copy_keys, read_crs, read_keys

_PIXEL_IS_POINT = 2


class GeoTags(NamedTuple):
    """How a GeoTIFF says it, to be written over the same ground.

    Attributes:
      transform: as in `Georeference`, but in the unit of the GeoKeys.
      keys: the tags of the GeoKeys, as a little-endian TIFF has them.
    """

    transform: tuple[float, ...]
    keys: Mapping[int, bytes]


class Georeference(NamedTuple):
    """How the pixels of a scene lie on the ground.

    Attributes:
      transform: a, b, c, d, e, f with x = a*column + b*row + c and y = d*column + e*row + f. Columns and rows count the
        edges of pixels: 0, 0 is the outer corner of the first one. Empty if the tags do not say it.
      crs: the coordinate reference system of x and y: an authority's code, as `EPSG:32633`, or WKT, or a projection of
        the file's own; empty if unknown.
      taken: UTC, in ISO 8601; empty if the file does not surely say it.
      unit: metres or radians to a unit of x and y, as the file claims in addition to a code; 0 if it does not.
      reason: why its windows cannot be located; empty if nothing speaks against it.
      tags: the same in a GeoTIFF; None if there is a reason.
    """

    transform: tuple[float, ...] = ()
    crs: str | UserDefined = ""
    taken: str = ""
    unit: float = 0.0
    reason: str = ""
    tags: GeoTags | None = None


def read_georeference(tags: Mapping[int, bytes], order: str) -> Georeference | None:
    """Return what the tags of a TIFF say of where its pixels lie; None if they say nothing of it.

    Rational polynomials say nothing that could be used without a model of heights.

    The tags are a stranger's: whatever they hold, nothing is raised, and what is not understood becomes the `reason`.

    Args:
      tags: number of a tag to its bytes, as they are in the file.
      order: of these bytes, `<` or `>`.
    """
    scale, tiepoints, matrix = (
        _doubles(tags.get(tag, b""), order) for tag in (MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION)
    )
    if not (scale or tiepoints or matrix):
        return None
    taken, keys = read_taken(tags), read_keys(tags, order)
    try:
        transform = _transform(scale, tiepoints, matrix)
        if keys.get(RASTER_TYPE) == _PIXEL_IS_POINT:
            transform = _shifted(transform)
        crs = read_crs(keys)
    except ValueError as error:
        return Georeference(taken=taken, reason=str(error))
    copied = GeoTags(transform, copy_keys(tags, order))
    return Georeference(_rescaled(transform, crs), crs.name, taken, crs.unit, tags=copied)


def _transform(scale: tuple[float, ...], tiepoints: tuple[float, ...], matrix: tuple[float, ...]) -> tuple[float, ...]:
    """Return the transform of what the pixels' columns and rows count, their edges or their centres.

    Raises:
      ValueError: there is none, or it is contradictory or not finite.
    """
    if len(scale) >= 2 and len(tiepoints) >= 6 and all(scale[:2]):
        transform = _scaled(scale, tiepoints)
    elif len(matrix) >= 8:
        transform = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    elif len(tiepoints) >= 6 and not scale:
        raise ValueError("it has ground control points alone, between which pixels may lie anywhere")
    else:
        raise ValueError("the tags that say where its pixels lie are incomplete")
    if not all(map(math.isfinite, transform)):
        raise ValueError("its transform holds numbers that are not finite")
    a, b, _, d, e, _ = transform
    if not abs(a * e - b * d) > 1e-12 * math.hypot(a, d) * math.hypot(b, e):
        raise ValueError("its pixels have no area on the ground")
    return transform


def _scaled(scale: tuple[float, ...], tiepoints: tuple[float, ...]) -> tuple[float, ...]:
    """Return the transform of a scale and the first tie point.

    Raises:
      ValueError: the scale of rows is negative, or other tie points contradict.
    """
    across, down = scale[:2]
    if down < 0:
        # By the specification rows then count northwards; GDAL and others read it as positive. It may mean either.
        raise ValueError("the scale of its rows is negative, which programs interpret differently")
    column, row, _, x, y, _ = tiepoints[:6]
    transform = (across, 0.0, x - across * column, 0.0, -down, y + down * row)
    for start in range(6, len(tiepoints) - 5, 6):
        column, row, _, x, y, _ = tiepoints[start : start + 6]
        apart = (
            abs(across * column + transform[2] - x) / abs(across),
            abs(transform[5] - down * row - y) / down,
        )
        if not max(apart) <= 0.1:
            raise ValueError("its tie points contradict its pixel scale")
    return transform


def _shifted(transform: tuple[float, ...]) -> tuple[float, ...]:
    """Return a transform of pixels' centres as one of their edges."""
    a, b, c, d, e, f = transform
    return a, b, c - (a + b) / 2, d, e, f - (d + e) / 2


def _rescaled(transform: tuple[float, ...], crs: Crs) -> tuple[float, ...]:
    """Return a transform into metres or degrees, which are the units of all projections of a file's own."""
    return tuple(crs.rescale * number for number in transform)


def _doubles(data: bytes, order: str) -> tuple[float, ...]:
    return struct.unpack(f"{order}{len(data) // 8}d", data[: len(data) // 8 * 8])
