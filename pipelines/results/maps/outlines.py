"""Read where windows lie, as outputs say it: polygons in WKB."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_POLYGON, _MULTIPOLYGON = 3, 6
# Byte order, type, number of rings and number of vertices of a polygon.
_HEAD = struct.Struct("<BIII")
_VERTEX_BYTES = 16
_SPELLED = {0: ">", 1: "<"}


class Outlines(NamedTuple):
    """Outlines of windows: one ring each, or two if a window crosses the antimeridian.

    Attributes:
      vertices: float64[V, 2], longitudes and latitudes in degrees, of all rings in turn; the first of a ring is not
        repeated as its last.
      sizes: int64[R], number of vertices of each ring.
      rings: int64[N], number of rings of each window.
    """

    vertices: NDArray[np.float64]
    sizes: NDArray[np.int64]
    rings: NDArray[np.int64]

    def windows(self) -> Iterator[list[list[list[float]]]]:
        """Yield the rings of each window, as longitudes and latitudes."""
        vertices = self.vertices.tolist()
        ends = np.cumsum(self.sizes).tolist()
        found = [vertices[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        ends = np.cumsum(self.rings).tolist()
        for start, end in zip([0, *ends], ends, strict=False):
            yield found[start:end]


def read_outlines(geometries: Sequence[bytes]) -> Outlines:
    """Read polygons, and polygons of several parts, without holes.

    Args:
      geometries: WKB, in longitudes and latitudes.

    Raises:
      ValueError: one of them is something else.
    """
    outlines = _read_alike(geometries)
    if outlines is None:
        each = [list(_read_rings(geometry)) for geometry in geometries]
        closed = [ring for rings in each for ring in rings]
        if any((ring[0] != ring[-1]).any() for ring in closed):
            raise ValueError("a ring is not closed")
        sizes = np.array([len(ring) - 1 for ring in closed], np.int64)
        vertices = np.concatenate([np.empty((0, 2)), *(ring[:-1] for ring in closed)])
        outlines = Outlines(vertices, sizes, np.array([len(rings) for rings in each], np.int64))
    # Also false for NaN.
    if not (np.abs(outlines.vertices) <= (180, 90)).all():
        raise ValueError("coordinates are not longitudes and latitudes")
    return outlines


def _read_alike(geometries: Sequence[bytes]) -> Outlines | None:
    """Read polygons of equally many vertices at once, as nearly all windows are; None if there are others."""
    length = len(geometries[0]) if geometries else 0
    vertices = (length - _HEAD.size) // _VERTEX_BYTES
    if vertices < 4 or any(len(geometry) != length for geometry in geometries):
        return None
    data = np.frombuffer(b"".join(geometries), np.uint8).reshape(len(geometries), length)
    if (data[:, : _HEAD.size] != np.frombuffer(_HEAD.pack(1, _POLYGON, 1, vertices), np.uint8)).any():
        return None
    if length != _HEAD.size + vertices * _VERTEX_BYTES:
        return None
    rings = np.ascontiguousarray(data[:, _HEAD.size :]).view("<f8").reshape(len(geometries), vertices, 2)
    if (rings[:, 0] != rings[:, -1]).any():
        return None
    count = len(geometries)
    sizes, ones = np.full(count, vertices - 1, np.int64), np.ones(count, np.int64)
    return Outlines(rings[:, :-1].reshape(-1, 2).astype(np.float64), sizes, ones)


def _read_rings(geometry: bytes) -> Iterator[NDArray[np.float64]]:
    """Yield the closed outer rings of a geometry.

    Raises:
      ValueError: it is no polygon, has holes, or is cut off.
    """
    try:
        order, kind = _read_kind(geometry, 0)
        parts, start = 1, 0
        if kind == _MULTIPOLYGON:
            [parts] = struct.unpack_from(f"{order}I", geometry, 5)
            start = 9
        if not parts:
            raise ValueError("a polygon is empty")
        for _ in range(parts):
            order, kind = _read_kind(geometry, start)
            rings, vertices = struct.unpack_from(f"{order}II", geometry, start + 5)
            if kind != _POLYGON or rings != 1 or vertices < 4:
                raise ValueError("it is not a polygon without holes")
            yield np.frombuffer(geometry, f"{order}f8", 2 * vertices, start + _HEAD.size).reshape(-1, 2)
            start += _HEAD.size + vertices * _VERTEX_BYTES
    except struct.error as error:
        raise ValueError("it is cut off") from error
    if start != len(geometry):
        raise ValueError("something follows the polygon")


def _read_kind(geometry: bytes, start: int) -> tuple[str, int]:
    """Read byte order and type at a position."""
    order = _SPELLED.get(geometry[start] if start < len(geometry) else -1)
    if order is None:
        raise ValueError("it is not WKB")
    [kind] = struct.unpack_from(f"{order}I", geometry, start + 1)
    return order, int(kind)
