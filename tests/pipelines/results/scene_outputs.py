"""Outputs with windows of scenes, written without a run."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output.footers import probability_columns

Ring = Sequence[tuple[float, float]]

TAGS = ("clear", "bare ground", "road")
THRESHOLDS = (0.5, 0.21, 0.2137)
TAKEN = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


def wkb(*rings: Ring) -> bytes:
    """Write a polygon as WKB, or one of several parts; rings are not closed yet."""
    polygons = [
        struct.pack("<BIII", 1, 3, 1, len(ring) + 1) + np.array([*ring, ring[0]], "<f8").tobytes() for ring in rings
    ]
    return polygons[0] if len(polygons) == 1 else struct.pack("<BII", 1, 6, len(polygons)) + b"".join(polygons)


def square(west: float, south: float, side: float = 0.01) -> Ring:
    """Return a square, counter-clockwise from its south-west corner."""
    east, north = west + side, south + side
    return [(west, south), (east, south), (east, north), (west, north)]


def window(scene: str, column: int, row: int, *rings: Ring, **changed: Any) -> dict[str, Any]:
    """Return the row of a window; probabilities are given by their columns, and 0 otherwise."""
    return {
        "path": f"{scene}#xywh={column},{row},256,256",
        "tags": [],
        "width": 256,
        "height": 256,
        "scene": scene,
        "col_off": column,
        "row_off": row,
        "datetime": TAKEN,
        "geometry": wkb(*rings) if rings else None,
        **dict.fromkeys(probability_columns(TAGS).values(), 0.0),
        **changed,
    }


def image(path: str) -> dict[str, Any]:
    """Return the row of an image that is no window."""
    columns = ("scene", "col_off", "row_off", "datetime", "geometry")
    return {name: value for name, value in window(path, 0, 0).items() if name not in columns} | {"path": path}


def footer(**changed: Any) -> Mapping[str, str]:
    """Return the metadata of a file."""
    described = {"version": "1", "bundle": "b" * 64, "labels": TAGS, "thresholds": THRESHOLDS}
    return {"scenetags": json.dumps(described | {"columns": probability_columns(TAGS)} | changed)}


def write_rows(
    output: Path, *rows: Mapping[str, Any], name: str = "a", metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file of predictions whose columns are those of the first row."""
    types = {
        **dict.fromkeys(("path", "scene", "fingerprint", "model", "run"), pa.string()),
        **dict.fromkeys(("width", "height", "col_off", "row_off"), pa.int32()),
        **dict.fromkeys(probability_columns(TAGS).values(), pa.float32()),
        "tags": pa.list_(pa.string()),
        "datetime": pa.timestamp("us", "UTC"),
        "geometry": pa.binary(),
    }
    named = [name for name in types if not rows or name in rows[0]]
    schema = pa.schema([(name, types[name]) for name in named], metadata=metadata or footer())
    folder = output / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema), folder / f"{name}.parquet")
