"""Read the names in lists that are Parquet: files, and folders of them as Spark and others write."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from pipelines import storage
from pipelines.listing.lists.names import (
    LEAVE_OUT,
    LONGEST,
    NAME_KEPT,
    WRITE_AS_TEXT,
    ListError,
    Named,
    NoName,
    Row,
    check_name,
    find_column,
    reason,
    too_long,
)
from pipelines.listing.names import is_image
from pipelines.listing.threads import UnawaitedPool

# A batch takes up to this many times `LONGEST`. Fewer rows would be slower.
_BATCH = 1024
_READ_AHEAD = 1 << 20
_UNFINISHED = "_temporary"
_AT_ONCE = 16


def find_in_folder(folder: str, passed_over: Counter[str] | None) -> list[str]:
    """Find all Parquet files in a folder and below it, except those that are hidden or begin with `_`.

    Raises:
      ListError: it has none, or is still being written.
      OSError: a folder cannot be read.
    """
    found, folders = list[str](), [folder.rstrip("/")]
    while folders:
        place = folders.pop()
        for path in storage.list_folders(place):
            name = posixpath.basename(path)
            if name == _UNFINISHED:
                raise ListError(f" is not complete: it holds {_UNFINISHED}", "write it again")
            if not name.startswith((".", "_")):
                folders.append(path)
        for path in storage.list_files(place):
            name = posixpath.basename(path)
            if name.lower().endswith((".parquet", ".pq")) and not name.startswith((".", "_")):
                found.append(path)
            elif not name.startswith("_"):
                is_image(name, passed_over)
    if not found:
        raise ListError(" is a folder without .parquet files", "give a folder of images as --input")
    return sorted(found)


def read_in_folder(folder: str, path: str, column: str, kept: Sequence[str] = ()) -> Iterator[Named]:
    """Read the names in a Parquet file in a folder.

    Raises:
      ListError: it cannot be read, or has no such column.
    """
    name = path[len(folder.rstrip("/")) + 1 :]
    try:
        with storage.open_to_read(path) as file:
            yield from read_parquet(file, column, kept, f" in {name}")
    except ListError as error:
        raise ListError(f": {name}{error.message}", error.remedy) from error
    except (OSError, pa.ArrowException) as error:
        raise ListError(f": {name}: {reason(error)}") from error


def _read_types(path: str) -> dict[str, str]:
    """Return the types of a Parquet file's columns by name; empty where the values of one cannot be kept."""
    with storage.open_to_read(path) as file, pyarrow.parquet.ParquetFile(file, pre_buffer=False) as table:
        return {field.name: _kept_type(field.type) for field in table.schema_arrow}


def read_common_types(folder: str, files: Sequence[str], wanted: Collection[str] | None) -> dict[str, str]:
    """Return the types of the columns of Parquet files by name.

    A type is empty where the values of a column cannot be kept, or where it is not the same in all files.

    Args:
      folder: that holds the files.
      files: their paths, at least one.
      wanted: columns that no file may lack; None for all that any has.

    Raises:
      ListError: a file lacks a column, or the names of folders hold the values of one, as Spark writes them.
    """
    partitions = (part for path in files for part in path[len(folder) :].split("/")[:-1] if "=" in part)
    if wanted is None and (partition := next(partitions, "")):
        raise ListError(
            f" has a column in the names of its folders, as in {partition}",
            "name the columns to keep with --keep_columns",
        )
    types = _read_types(files[0])
    with UnawaitedPool(_AT_ONCE, "types") as pool:
        for path, reading in [(path, pool.submit(_read_types, path)) for path in files[1:]]:
            others = reading.result()
            lacking = sorted(others.keys() ^ types.keys())
            if column := next((column for column in lacking if wanted is None or column in wanted), ""):
                raise ListError(
                    f": {files[0]} and {path} have different columns: only one of them has {column!r}", LEAVE_OUT
                )
            types = {name: kind if others.get(name, kind) == kind else "" for name, kind in types.items()}
    return types


def _kept_type(kind: pa.DataType) -> str:
    """Name the type of a kept column; empty if its values cannot be kept."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "local_timestamp"
    for is_type, name in (
        (pa.types.is_integer, "int64"),
        (pa.types.is_floating, "float64"),
        (pa.types.is_boolean, "bool"),
        (pa.types.is_date, "date"),
        *((is_text, "string") for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)),
        (pa.types.is_null, "string"),
    ):
        if is_type(kind):
            return name
    return ""


def read_parquet(file: IO[bytes], column: str, kept: Sequence[str] = (), where: str = "") -> Iterator[Named]:
    """Read the names in a Parquet file.

    Args:
      file: to be read.
      column: that holds the paths.
      kept: columns whose values are kept; with any, names come in a `Row`.
      where: put behind the number of a row that names nothing.

    Raises:
      ListError: it has no such column, or two of them, or values that are too long.
    """
    row = 0
    with pyarrow.parquet.ParquetFile(file, pre_buffer=False) as table:
        schema = table.schema_arrow
        _check_type(schema.field(find_column(schema.names, column)))
        types = {name: _kept_type(schema.field(find_column(schema.names, name, NAME_KEPT)).type) for name in kept}
        if unfit := next((name for name, kind in types.items() if not kind), None):
            raise ListError(
                f" has a column {unfit!r} of {schema.field(unfit).type}, which cannot be kept", WRITE_AS_TEXT
            )
        wanted = list(dict.fromkeys([column, *kept]))
        texts = [column, *(name for name, kind in types.items() if kind == "string")]
        with pyarrow.parquet.ParquetFile(
            file, read_dictionary=texts, pre_buffer=False, buffer_size=_READ_AHEAD
        ) as packed:
            for group in range(table.num_row_groups):
                if table.metadata.row_group(group).num_rows:
                    _refuse_large(packed, group, column, texts)
                # Without threads; see `output.tables.open_table`.
                for batch in table.iter_batches(_BATCH, [group], wanted, use_threads=False):
                    names = _names(batch.column(column), row, where)
                    yield from _rows(names, batch.select(kept)) if kept else names
                    row += batch.num_rows


def _check_type(field: pa.Field) -> None:
    values = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    # Some programs write texts without saying that they are; a column without a value has no type.
    others = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null)
    if not any(is_type(values) for is_type in (*texts, *others)):
        kind = str(field.type)[:100]
        raise ListError(f" has a column {field.name!r} of {kind}, not of text", "name another with --path_column")


def _rows(names: Iterator[str | NoName], kept: pa.RecordBatch) -> Iterator[Row]:
    """Join names and the values of the same rows."""
    return map(Row, names, zip(*map(_values, kept.schema.names, kept.columns), strict=True))


def _values(name: str, column: pa.Array) -> list[Any]:
    """Return the values of a column as Python has them."""
    try:
        return list(_without_nanoseconds(name, column).to_pylist())
    except (OverflowError, ValueError, KeyError) as error:
        # As in what databases write for infinity; or its zone is none that this machine knows.
        raise ListError(
            f" has a column {name!r} with a time outside the years 1 to 9999, or in an unknown time zone: {error}",
            WRITE_AS_TEXT,
        ) from error


def _without_nanoseconds(name: str, column: pa.Array) -> pa.Array:
    """Return a column with times in microseconds, as Python has them; refuse parts of one, which would be lost."""
    if not pa.types.is_timestamp(column.type):
        return column
    try:
        return column.cast(pa.timestamp("us", column.type.tz))
    except pa.ArrowInvalid as error:
        raise ListError(
            f" has a column {name!r} with a timestamp that microseconds cannot hold exactly",
            WRITE_AS_TEXT,
        ) from error


def _refuse_large(packed: pyarrow.parquet.ParquetFile, group: int, paths: str, texts: Sequence[str]) -> None:
    for column in texts:
        if _is_too_large(packed, group, column):
            if column == paths:
                raise ListError(
                    f" has a column {column!r} with values too long for a path, over {LONGEST:,} bytes",
                    "name the one that holds the paths with --path_column",
                )
            raise ListError(f" has a column {column!r} with a value of over {LONGEST:,} bytes", LEAVE_OUT)


def _is_too_large(table: pyarrow.parquet.ParquetFile, group: int, name: str) -> bool:
    """Return whether a group of rows unpacks to more than paths take.

    A file of some hundred bytes can hold thousands of copies of a value of many megabytes.

    Args:
      table: opened so that the column is read as a dictionary of values and references to them.
      group: its number.
      name: of the column.
    """
    described = table.metadata.row_group(group)
    columns = map(described.column, range(described.num_columns))
    size = sum(column.total_uncompressed_size for column in columns if column.path_in_schema == name)
    if size > LONGEST * described.num_rows:
        return True
    # The first row comes with the dictionary of the whole group.
    column = next(table.iter_batches(1, [group], [name], use_threads=False)).column(name)
    return isinstance(column, pa.DictionaryArray) and _longest(column.dictionary) > LONGEST


def _names(column: pa.Array, row: int, where: str) -> Iterator[str | NoName]:
    """Read the names in a batch of rows.

    Args:
      column: of the batch.
      row: the number of the row before it.
      where: put behind the number of a row that names nothing.
    """
    try:
        texts = column.cast(pa.string())
    except pa.ArrowInvalid:
        # Bytes that are not UTF-8: each such name becomes a failure of its own.
        texts = column.cast(pa.binary())
    if pa.types.is_string(texts.type) and _longest(texts) <= LONGEST:
        for number, name in enumerate(texts.to_pylist(), row + 1):
            yield name or check_name(name, f"row {number:,}{where}")
        return
    for number, value in enumerate(texts, row + 1):
        data = value.as_buffer() or b""
        name = bytes(memoryview(data)[:LONGEST]).decode("utf-8", "surrogateescape")
        place = f"row {number:,}{where}"
        yield check_name(name, place) if len(data) <= LONGEST else too_long(name, len(data), place)


def _longest(texts: pa.Array) -> int:
    """Return the length in bytes of the longest text."""
    return pyarrow.compute.max(pyarrow.compute.binary_length(texts)).as_py() or 0
