"""The columns of the tables as Arrow has them: schemas, and rows as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.output.footers import FOOTER, make_footer, probability_columns
from pipelines.output.geography import as_geoparquet
from pipelines.output.run import Run
from pipelines.output.schema import EMBEDDING, Column


def make_schema(columns: Sequence[Column], run: Run) -> pa.Schema:
    """Return a table's Arrow schema; its metadata identify the model of a file even without rows."""
    fields = [(name, _type_in(column, run)) for column in columns for name in _names(column, run)]
    return as_geoparquet(pa.schema(fields, metadata={FOOTER: json.dumps(make_footer(run))}))


def make_table(columns: Sequence[Column], rows: Sequence[Any], run: Run) -> pa.Table:
    """Convert rows to an Arrow table."""
    arrays = []
    for column in columns:
        values = [column.take(row, run) for row in rows]
        series = zip(*values, strict=True) if column.per_label else (values,)
        arrays += [_to_array(one, _type_in(column, run)) for one in series]
    return pa.Table.from_arrays(arrays, schema=make_schema(columns, run))


def dictionary_columns(columns: Sequence[Column]) -> list[str]:
    """Return the Parquet names of the columns that are written with a dictionary."""
    names = {column.name: column.type for column in columns if column.repeats}
    return [f"{name}.list.element" if kind.startswith("list") else name for name, kind in names.items()]


def _names(column: Column, run: Run) -> Sequence[str]:
    return list(probability_columns(run.bundle.labels).values()) if column.per_label else [column.name]


def _to_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        # Value by value it would take longer than the model.
        return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(values)), type=kind)
    return pa.array(values, kind)


def _type_in(column: Column, run: Run) -> pa.DataType:
    if column is EMBEDDING:
        return pa.list_(pa.field("element", pa.float16()), run.embedding_size)
    return _arrow_type(column.type)


def _arrow_type(name: str) -> pa.DataType:
    # Parquet names the items of a list "element"; with any other name, a type would change when it is read back.
    names = pa.list_(pa.field("element", pa.string()))
    return {
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "float32": pa.float32(),
        "list<string>": names,
        "binary": pa.binary(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "local_timestamp": pa.timestamp("us"),
        "struct<xmin, ymin, xmax, ymax: float64>": pa.struct(
            [(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")]
        ),
    }[name]
