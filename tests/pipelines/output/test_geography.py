"""What files of windows say of where their rows lie."""

from __future__ import annotations

import json
import struct
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipelines.output.geography import Extent, along_curve, with_extent
from pipelines.records import Footprint, ImageRef, Prediction

POLYGON, MULTIPOLYGON = 3, 6


def wkb(kind: int) -> bytes:
    return struct.pack("<BI", 1, kind)


def table(*rows: tuple[int, tuple[float, float, float, float]] | None) -> pa.Table:
    boxes = [row and dict(zip(("xmin", "ymin", "xmax", "ymax"), row[1], strict=True)) for row in rows]
    kind = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
    return pa.table(
        {"geometry": pa.array([row and wkb(row[0]) for row in rows], pa.binary()), "bbox": pa.array(boxes, kind)}
    )


def column(extent: Extent) -> dict[str, object]:
    [described] = (json.loads(text) for text in extent.metadata().values())
    return dict(described["columns"]["geometry"])


def test_an_extent_holds_all_rows_and_names_their_types() -> None:
    extent = Extent()
    extent.add(table((POLYGON, (1, 2, 3, 4)), None))
    extent.add(table((MULTIPOLYGON, (-180, -5, 180, 3.5)), (POLYGON, (0, 0, 1, 80))))
    assert column(extent)["bbox"] == [-180, -5, 180, 80]
    assert column(extent)["geometry_types"] == ["MultiPolygon", "Polygon"]


def test_rows_without_a_place_have_no_extent() -> None:
    extent = Extent()
    extent.add(table(None, None))
    assert "bbox" not in column(extent)
    assert column(extent)["geometry_types"] == []


def test_an_extent_that_is_no_longer_true_is_replaced() -> None:
    old = with_extent(table((POLYGON, (0, 0, 9, 9)), (POLYGON, (1, 1, 2, 2))))
    new = with_extent(old.slice(1))
    assert list(new.schema.metadata) == [b"geo"]
    assert json.loads(new.schema.metadata[b"geo"])["columns"]["geometry"]["bbox"] == [1, 1, 2, 2]


def test_other_tables_say_nothing_of_places() -> None:
    plain = pa.table({"path": ["a"]})
    assert with_extent(plain).schema.metadata is None


def row(number: int, bounds: tuple[float, ...]) -> Prediction:
    ref = ImageRef(str(number), 1, "")
    return Prediction(ref, 1, 1, "", (), np.zeros(1, np.float32), Footprint(b"x" if bounds else b"", bounds))


def test_neighbours_on_the_curve_are_neighbours_on_the_ground() -> None:
    """On a Hilbert curve each cell of a square of 2^n cells is next to the one before."""
    side = 16
    cells = [(x, y) for y in range(side) for x in range(side)]
    size = 360 / side, 180 / side
    rows = [
        row(number, (x * size[0] - 180, y * size[1] - 90, (x + 1) * size[0] - 180, (y + 1) * size[1] - 90))
        for number, (x, y) in enumerate(cells)
    ]
    order = [cells[int(found.ref.path)] for found in along_curve(rows)]
    assert sorted(order) == sorted(cells)
    steps = [abs(a - c) + abs(b - d) for (a, b), (c, d) in pairwise(order)]
    assert set(steps) == {1}


def test_rows_without_a_place_come_last_in_their_order() -> None:
    rows = [row(0, ()), row(1, (0, 0, 1, 1)), row(2, ())]
    assert [found.ref.path for found in along_curve(rows)] == ["1", "0", "2"]
    assert [found.ref.path for found in along_curve(rows[::2])] == ["0", "2"]
