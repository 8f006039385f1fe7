"""Read the names in .txt, .csv and .parquet files piece by piece, however long a line claims to be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from pipelines import storage
from pipelines.listing.lookup import InputError

LIST_COLUMN = "path"
LONGEST = 1 << 17
"""Bytes of a name; no path is longer, nor is a path of an archive with the name of a member."""

_KEPT = 1000
_CSV_LINE = 1 << 20
# A batch takes up to this many times `LONGEST`. Fewer rows would be slower.
_BATCH = 1024
_READ_AHEAD = 1 << 20


class LongName(NamedTuple):
    """A name longer than any path, of which only the beginning is kept.

    Attributes:
      beginning: of the name.
      length: in bytes.
    """

    beginning: str
    length: int


def read_names(path: str) -> Iterator[str | LongName]:
    """Read the names in a list, without loading the whole file into memory.

    Raises:
      InputError: the file cannot be read or has no column `path`.
    """
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".txt":
            with storage.open_to_read(path) as file:
                yield from _read_lines(file)
        elif ending == ".csv":
            with storage.open_to_read(path) as file:
                yield from _read_csv(file)
        elif ending in (".parquet", ".pq"):
            with storage.open_to_read(path) as file:
                yield from _read_parquet(file)
        else:
            raise InputError(f"{path} is not a list of images", "give a .txt, .csv or .parquet file")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except KeyError as error:
        raise InputError(
            f"{path} has no column {LIST_COLUMN!r}", f"rename the column that holds the paths to {LIST_COLUMN!r}"
        ) from error
    except (pa.ArrowException, IndexError) as error:
        raise InputError(f"cannot read {path}: {str(error).rstrip('.')}") from error


def _read_lines(file: IO[bytes]) -> Iterator[str | LongName]:
    line = file.readline(LONGEST).removeprefix(b"\xef\xbb\xbf")
    while line:
        length, rest = len(line), line
        while len(rest) == LONGEST and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST)
            length += len(rest)
        if length == len(line):
            yield _decode(line.rstrip(b"\r\n"))
        else:
            yield LongName(_decode(line[:_KEPT]), length)
        line = file.readline(LONGEST)


def _read_csv(file: IO[bytes]) -> Iterator[str | LongName]:
    # Without threads, here and for Parquet; see `output.tables.open_table`.
    read = pyarrow.csv.ReadOptions(block_size=_CSV_LINE, use_threads=False)
    convert = pyarrow.csv.ConvertOptions(
        include_columns=[LIST_COLUMN], column_types={LIST_COLUMN: pa.string()}, strings_can_be_null=False
    )
    try:
        for batch in pyarrow.csv.open_csv(file, read_options=read, convert_options=convert):
            yield from _texts(batch)
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
        raise OSError(f"a line is longer than {_CSV_LINE:,} bytes") from error


def _read_parquet(file: IO[bytes]) -> Iterator[str | LongName]:
    with (
        pyarrow.parquet.ParquetFile(file, pre_buffer=False) as table,
        pyarrow.parquet.ParquetFile(
            file, read_dictionary=[LIST_COLUMN], pre_buffer=False, buffer_size=_READ_AHEAD
        ) as packed,
    ):
        for group in range(table.num_row_groups):
            if table.metadata.row_group(group).num_rows and _is_too_large(packed, group):
                raise OSError(f"its column {LIST_COLUMN!r} has values too long for a path, over {LONGEST:,} bytes")
            for batch in table.iter_batches(_BATCH, [group], [LIST_COLUMN], use_threads=False):
                yield from _texts(batch)


def _is_too_large(table: pyarrow.parquet.ParquetFile, group: int) -> bool:
    """Return whether a group of rows unpacks to more than paths take.

    A file of some hundred bytes can hold thousands of copies of a value of many megabytes.

    Args:
      table: opened so that the column is read as a dictionary of values and references to them.
      group: its number.
    """
    described = table.metadata.row_group(group)
    columns = map(described.column, range(described.num_columns))
    size = sum(column.total_uncompressed_size for column in columns if column.path_in_schema == LIST_COLUMN)
    if size > LONGEST * described.num_rows:
        return True
    # The first row comes with the dictionary of the whole group.
    column = next(table.iter_batches(1, [group], [LIST_COLUMN], use_threads=False)).column(LIST_COLUMN)
    return isinstance(column, pa.DictionaryArray) and _longest(column.dictionary) > LONGEST


def _texts(batch: pa.RecordBatch) -> Iterator[str | LongName]:
    column = batch.column(LIST_COLUMN).cast(pa.string())
    if _longest(column) <= LONGEST:
        yield from (name or "" for name in column.to_pylist())
        return
    for value in column:
        data = value.as_buffer() or b""
        name = bytes(memoryview(data)[:LONGEST])
        yield _decode(name) if len(data) <= LONGEST else LongName(_decode(name[:_KEPT]), len(data))


def _longest(texts: pa.Array) -> int:
    """Return the length in bytes of the longest text."""
    return pyarrow.compute.max(pyarrow.compute.binary_length(texts)).as_py() or 0


def _decode(name: bytes) -> str:
    # Names that are not UTF-8 pass through unchanged; `refer` turns each into a failure.
    return name.decode("utf-8", "surrogateescape")
