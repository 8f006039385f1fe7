"""Write GeoTIFFs with GDAL, read their tags without it, and measure footprints by pyproj alone."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyproj
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from pipelines.records import Footprint

Tags = dict[int, bytes]
Ring = list[tuple[float, float]]
Box = tuple[int, int, int, int]

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def written(
    crs: str, transform: Sequence[float], *, metadata: Mapping[str, str] | None = None, endianness: str = "LITTLE"
) -> tuple[Tags, str]:
    """Return the tags of a small raster that GDAL writes, and their byte order."""
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=4,
            height=4,
            count=1,
            dtype="uint8",
            crs=crs or None,
            transform=Affine(*transform),
            ENDIANNESS=endianness,
        ) as raster:
            raster.write(np.ones((1, 4, 4), np.uint8))
            raster.update_tags(**(metadata or {}))
        return tags_of(memory.read())


def tags_of(data: bytes) -> tuple[Tags, str]:
    """Return the tags of a TIFF, as bytes, and their byte order."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    tags = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, number, offset = struct.unpack_from(f"{order}HHII", data, entry)
        size = _SIZES[kind] * number
        start = entry + 8 if size <= 4 else offset
        tags[tag] = data[start : start + size]
    return tags, order


def judge(crs: str) -> pyproj.Transformer:
    """Return how points of a reference system lie in longitude and latitude, by GDAL's description of it.

    Where a projection is defined by its parameters, its NAD 83 is held to be WGS 84, as PROJ does for EPSG's own.
    """
    system = rasterio.crs.CRS.from_user_input(crs).to_wkt()
    return pyproj.Transformer.from_crs(system, "EPSG:4269" if "+datum=NAD83" in crs else "OGC:CRS84", always_xy=True)


def rings_of(geometry: bytes) -> list[Ring]:
    """Return the rings of the WKB of a polygon or of several, each without holes."""
    order, kind, count = struct.unpack_from("<BII", geometry)
    assert order == 1
    assert kind in (3, 6)
    rings, place = [], 0 if kind == 3 else 9
    for _ in range(1 if kind == 3 else count):
        _, polygon, parts, points = struct.unpack_from("<BIII", geometry, place)
        assert (polygon, parts) == (3, 1)
        numbers = struct.unpack_from(f"<{2 * points}d", geometry, place + 13)
        rings.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
        place += 13 + 16 * points
    assert place == len(geometry)
    assert kind == 3 or count > 1
    return rings


def area(ring: Ring) -> float:
    """Return the signed area of a closed ring in square degrees: positive if it runs counter-clockwise."""
    seen = [(x - ring[0][0], y - ring[0][1]) for x, y in ring]
    return sum(x * other_y - other_x * y for (x, y), (other_x, other_y) in pairwise(seen)) / 2


def surrounds(ring: Ring, place: tuple[float, float]) -> bool:
    """Return whether a place lies inside a closed ring: whether a line from it to the east leaves the ring."""
    x, y = place
    crossings = [
        x < start[0] + (y - start[1]) / (end[1] - start[1]) * (end[0] - start[0])
        for start, end in pairwise(ring)
        if (start[1] > y) != (end[1] > y)
    ]
    return sum(crossings) % 2 == 1


def off_the_window(
    footprint: Footprint, transform: Sequence[float], ground: pyproj.Transformer, box: Box, around: float = 0.0
) -> float:
    """Return by how many pixels the edges of a footprint leave those of its window, or miss its corners.

    Edges along the antimeridian and at the poles, which are not the window's, are left out.

    Args:
      footprint: of the window.
      transform: of the scene, from pixels to its reference system.
      ground: of the reference system.
      box: column, row, width and height of the window.
      around: how far x runs around the Earth, of a system in which it does.
    """
    column, row, width, height = box
    middle = _applied(transform, column + width / 2, row + height / 2)
    most, corners = 0.0, dict.fromkeys(_corners(box), math.inf)
    for start, end in (edge for ring in rings_of(footprint.geometry) for edge in pairwise(ring)):
        if abs(start[0]) == abs(end[0]) == 180 or abs(start[1]) == abs(end[1]) == 90:
            continue
        for part in np.linspace(0, 1, 9):
            x, y = ground.transform(
                start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]), direction="INVERSE"
            )
            if around:
                x += around * round((middle[0] - x) / around)
            point = _applied(tuple(~Affine(*transform)), x, y)
            across = max(column - point[0], point[0] - column - width)
            down = max(row - point[1], point[1] - row - height)
            most = max(most, math.hypot(max(across, 0), max(down, 0)), -max(across, down))
            corners = {corner: min(least, math.dist(corner, point)) for corner, least in corners.items()}
    return max(most, *corners.values())


def _applied(transform: Sequence[float], x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


def _corners(box: Box) -> list[tuple[float, float]]:
    column, row, width, height = box
    return [(column + i * width, row + j * height) for i in (0, 1) for j in (0, 1)]
