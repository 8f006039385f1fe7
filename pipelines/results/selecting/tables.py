"""Write selected rows to a file: CSV for a spreadsheet, Parquet with the columns of the output."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines.output.geography import BOUNDS, GEOMETRY, Extent, as_geoparquet
from pipelines.output.tables import PARQUET_OPTIONS, ROWS_PER_GROUP
from pipelines.results.selecting.selection import Selection

SEPARATOR = ";"
"""Between the tags, or repairs, in a cell."""

# A spreadsheet takes such a text for a formula, and runs it.
_FORMULA = r"^([=+\-@\t\r])"
# What would be read as several; or be run, as spreadsheets of some languages take the separator for the end of a cell.
_UNCLEAR = f'{SEPARATOR}|^"|{_FORMULA}'


def write_csv(selection: Selection, file: IO[bytes]) -> int:
    """Write the rows as CSV, with all columns but geometries and embeddings, and return their number.

    Texts that a spreadsheet would take for formulas begin with an apostrophe.
    """
    schema = selection.columns
    names = [field.name for field in schema if _has_text(field.type)]
    none = pa.RecordBatch.from_pylist([], pa.schema([schema.field(name) for name in names]))
    rows = 0
    with pyarrow.csv.CSVWriter(file, _flatten(none).schema) as writer:
        for batch in selection.read(names):
            writer.write_batch(_flatten(batch))
            rows += batch.num_rows
    return rows


def write_parquet(selection: Selection, file: IO[bytes]) -> int:
    """Write the rows as Parquet, with all columns as they are, and return their number."""
    schema = selection.columns
    extent, rows = Extent(), 0
    own = {key: value for key, value in (schema.metadata or {}).items() if key not in extent.metadata()}
    with pq.ParquetWriter(file, as_geoparquet(schema.with_metadata(own)), **PARQUET_OPTIONS) as writer:
        for table in _groups(selection.read(schema.names)):
            extent.add(table)
            writer.write_table(table.replace_schema_metadata(own))
            rows += table.num_rows
        if GEOMETRY in schema.names:
            writer.add_key_value_metadata(extent.metadata())
    return rows


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather rows until they fill a row group."""
    gathered: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        gathered.append(batch)
        rows += batch.num_rows
        if rows >= ROWS_PER_GROUP:
            yield pa.Table.from_batches(gathered)
            gathered, rows = [], 0
    if rows:
        yield pa.Table.from_batches(gathered)


def _flatten(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Turn lists into texts, and structs into columns; also the names of columns are harmless."""
    columns: dict[str, pa.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_list(column.type):
            columns[name] = _harmless(_joined(column))
        elif name == BOUNDS and pa.types.is_struct(column.type):
            for index, part in enumerate(column.flatten()):
                end = column.type.field(index).name
                columns[_free(end, batch.schema.names)] = part
        else:
            columns[name] = _harmless(column) if pa.types.is_string(column.type) else column
    return pa.RecordBatch.from_arrays(list(columns.values()), _harmless(pa.array(columns, pa.string())).to_pylist())


def _joined(lists: pa.ListArray) -> pa.Array:
    """Join the texts of each list without nulls; one that holds the separator, or begins with a quote, is in quotes."""
    texts = lists.flatten()
    if not texts.null_count and not pc.any(pc.match_substring_regex(texts, _UNCLEAR)).as_py():
        return pc.binary_join(lists, SEPARATOR)
    joined = (
        None if one is None else SEPARATOR.join(_quoted(text) for text in one if text is not None)
        for one in lists.to_pylist()
    )
    return pa.array(joined, pa.string())


def _quoted(text: str) -> str:
    text = re.sub(_FORMULA, r"'\1", text)
    return '"{}"'.format(text.replace('"', '""')) if SEPARATOR in text or text.startswith('"') else text


def _free(name: str, taken: Sequence[str]) -> str:
    """Name the column of a bound: a column of the list may have its name."""
    spellings = itertools.chain([name, f"{BOUNDS}_{name}"], (f"{BOUNDS}_{name}_{n}" for n in itertools.count(2)))
    return next(spelling for spelling in spellings if spelling not in taken)


def _has_text(kind: pa.DataType) -> bool:
    """Return whether values of a type can be read in a cell."""
    return not pa.types.is_binary(kind) and not pa.types.is_fixed_size_list(kind)


def _harmless(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, _FORMULA, r"'\1")
