"""Make tables of windows valid GeoParquet, and put rows that lie close to one another close together in a file.

The metadata are those of GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0/): readers refuse later drafts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.records import Prediction

GEOMETRY, BOUNDS = "geometry", "bbox"
_KEY = b"geo"
_TYPES = {3: "Polygon", 6: "MultiPolygon"}
"""By the number that a WKB has in its second byte."""
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BITS = 28
"""Of each coordinate along the curve: 0.15 m at the equator."""


class Extent:
    """Where the rows of a file lie."""

    def __init__(self) -> None:
        """Begin without rows."""
        self._bounds: tuple[float, ...] = ()
        self._kinds: set[str] = set()

    def add(self, table: pa.Table) -> None:
        """Include the rows of a table; one without geometries changes nothing."""
        if GEOMETRY not in table.column_names:
            return
        geometries = table[GEOMETRY].drop_null()
        if not len(geometries):
            return
        kinds = pc.unique(pc.binary_slice(geometries, 1, 2)).to_pylist()
        self._kinds.update(_TYPES[kind[0]] for kind in kinds)
        ends = [pc.min_max(pc.struct_field(table[BOUNDS].combine_chunks(), side)).as_py() for side in _SIDES]
        bounds = (ends[0]["min"], ends[1]["min"], ends[2]["max"], ends[3]["max"])
        self._bounds = _around(self._bounds, bounds) if self._bounds else bounds

    def metadata(self) -> dict[bytes, bytes]:
        """Return what the footer of the file says of it."""
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(self._kinds),
            "orientation": "counterclockwise",
            "covering": {BOUNDS: {side: [BOUNDS, side] for side in _SIDES}},
        }
        if self._bounds:
            column["bbox"] = list(self._bounds)
        # Without a `crs`, coordinates are longitudes and latitudes of OGC:CRS84.
        described = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
        return {_KEY: json.dumps(described).encode()}


def as_geoparquet(schema: pa.Schema) -> pa.Schema:
    """Let a schema say which of its columns is a geometry, if one is, before it is known where the rows lie.

    A file says it in its footer. But who opens a folder as a whole, as GeoPandas does, sees Arrow's schema alone.
    """
    if GEOMETRY not in schema.names:
        return schema
    return schema.with_metadata({**(schema.metadata or {}), **Extent().metadata()})


def with_extent(table: pa.Table) -> pa.Table:
    """Let the metadata of a table say where its rows lie, if they lie anywhere."""
    if GEOMETRY not in table.column_names:
        return table
    extent = Extent()
    extent.add(table)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **extent.metadata()})


def along_curve(rows: Sequence[Prediction]) -> list[Prediction]:
    """Sort rows along a Hilbert curve, those without a place last.

    A query for a region then finds its rows in few row groups.
    """
    placed = [row for row in rows if row.footprint and row.footprint.bounds]
    others = [row for row in rows if not (row.footprint and row.footprint.bounds)]
    if not placed:
        return others
    bounds = np.array([row.footprint.bounds for row in placed if row.footprint])
    longitudes, latitudes = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    order = np.argsort(_hilbert((longitudes + 180) / 360, (latitudes + 90) / 180), kind="stable")
    return [*(placed[index] for index in order), *others]


def _around(bounds: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    return (*map(min, bounds[:2], others[:2]), *map(max, bounds[2:], others[2:]))


def _hilbert(across: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of points of the unit square on a Hilbert curve.

    The loop of https://en.wikipedia.org/wiki/Hilbert_curve (`xy2d`), over all points at once.
    """
    most = (1 << _BITS) - 1
    x, y = (np.clip(side * most, 0, most).astype(np.int64) for side in (across, up))
    place = np.zeros_like(x)
    for bit in reversed(range(_BITS)):
        side = 1 << bit
        right, upper = (x & side) > 0, (y & side) > 0
        place += side * side * ((3 * right) ^ upper)
        turned = ~upper
        x, y = np.where(turned & right, most - x, x), np.where(turned & right, most - y, y)
        x, y = np.where(turned, y, x), np.where(turned, x, y)
    return place
