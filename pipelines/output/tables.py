"""The files of an output's tables: where they are, and how they are written and read."""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.output.arrow import dictionary_columns
from pipelines.output.footers import CONTENTS, read_footer
from pipelines.output.geography import with_extent
from pipelines.output.run import RUNS, SHADOW, STAGING, TABLES
from pipelines.output.schema import FAILURE_COLUMNS, PREDICTION_COLUMNS, SCENE_COLUMNS

Item = TypeVar("Item")
Result = TypeVar("Result")

ROWS_PER_GROUP = 8192
"""Rows per Parquet row group, held in memory until it is written; 8192 predictions with 17 labels take 3 MB."""

ROWS_PER_REGION = 2048
"""Rows per row group where rows are sorted by place: a query for a region reads few of them."""

PARQUET_OPTIONS = {
    "compression": "zstd",
    # For values that do not repeat, a dictionary with its indices takes 1.5 times as much as the values alone.
    "use_dictionary": dictionary_columns([*PREDICTION_COLUMNS, *SCENE_COLUMNS, *FAILURE_COLUMNS]),
    "write_page_checksum": True,
}
"""How tables are written. Without checksums, most flipped bits in a file yield wrong rows and no error."""

NO_ROWS = "no_rows.parquet"
"""Name of the file of a table that never had a row."""

_AT_ONCE = 8
_MANIFEST = re.compile(r"[0-9]{8}T[0-9]{6}(\.[0-9]{6})?Z-[0-9a-f]{4}\.json")


class OutputError(ScenetagsError):
    """An output folder that this run must not or cannot write to."""


def table_files(folder: str) -> Iterator[str]:
    """List the files of all tables in a folder."""
    for table in TABLES:
        yield from storage.list_files(storage.join(folder, table), ".parquet")


def holds_tables(folder: str) -> bool:
    """Return whether a folder is an output, judging by the folders in it."""
    names = map(posixpath.basename, storage.list_folders(folder))
    return any(name in (*TABLES, RUNS) or name.startswith((STAGING, SHADOW)) for name in names)


def check_folders(output: str) -> None:
    """Verify that all rows of an output are where they are looked for, and that it is no part of another output.

    Raises:
      OutputError: a file is in a folder of its own, or the output is in a folder with the rows or manifests of another.
    """
    for folder in (output, posixpath.dirname(output)):
        name, whole = posixpath.basename(folder), posixpath.dirname(folder)
        ending = ".json" if name == RUNS else ".parquet"
        if name in (*TABLES, RUNS) and any(map(_is_ours, storage.list_files(folder, ending)[:_AT_ONCE])):
            raise OutputError(f"{output} is inside the output {whole}", f"choose another --output, or {whole} itself")
    for table in TABLES:
        for path in storage.list_deeper(storage.join(output, table), ".parquet"):
            raise OutputError(
                f"{path} is in a sub-folder, where scenetags does not look for rows",
                f"move it up into {table}/, or out of the output",
            )


def _is_ours(path: str) -> bool:
    """Return whether scenetags wrote a file: folders of others may have the names of an output's."""
    if path.endswith(".json"):
        return _MANIFEST.fullmatch(posixpath.basename(path)) is not None
    try:
        with open_table(path) as parquet:
            return read_footer(parquet.schema_arrow) is not None
    except (OutputError, OSError):
        return False


@contextmanager
def open_table(path: str, opened: IO[bytes] | None = None) -> Iterator[pq.ParquetFile]:
    """Open a file of a table for reading.

    Read it with `use_threads=False`. A thread of Arrow that still holds a Python file when the process ends aborts it
    once in a few hundred times (https://github.com/apache/arrow/issues/34314); reading in advance takes threads, too.

    Args:
      path: of the file.
      opened: the file, where it has been opened already.

    Raises:
      OutputError: it is damaged.
      OSError: it cannot be read, or has been replaced since it was opened.
    """
    try:
        with (
            opened or storage.open_to_read(path) as file,
            pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False) as parquet,
        ):
            yield parquet
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        # Arrow also raises OSError for data that cannot be decompressed; only the storage's errors have an errno.
        if isinstance(error, storage.ChangedFileError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        # Raised from None: the search for the cause of a run's end would mistake Arrow's OSError for the storage's.
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OutputError(
            f"{path} is damaged or not a Parquet file ({reason})",
            "move it elsewhere, and `scenetags predict` tags its images again",
        ) from None


def read_table(path: str) -> pa.Table:
    """Read a whole file of a table, without what it said of its rows when it was staged.

    Raises:
      OutputError: it is damaged.
    """
    with open_table(path) as parquet:
        table = parquet.read(use_threads=False)
    metadata = {key: value for key, value in table.schema.metadata.items() if key != CONTENTS}
    return table.replace_schema_metadata(metadata)


def write_table(path: str, table: pa.Table) -> None:
    """Write a new file.

    Raises:
      OSError: it cannot be written.
    """
    with storage.create(path) as file:
        pq.write_table(with_extent(table), file, row_group_size=ROWS_PER_GROUP, **PARQUET_OPTIONS)


def count_rows(path: str) -> int:
    """Return the number of rows of a file.

    Raises:
      OutputError: it is damaged.
    """
    with open_table(path) as parquet:
        return int(parquet.metadata.num_rows)


def bounds_of(parquet: pq.ParquetFile, group: int, column: str) -> tuple[str, str] | None:
    """Return the least and the greatest text in a column of a row group; None if its statistics do not say it."""
    described = parquet.metadata.row_group(group)
    for number in range(described.num_columns):
        if described.column(number).path_in_schema == column:
            statistics = described.column(number).statistics
            return (statistics.min, statistics.max) if statistics and statistics.has_min_max else None
    return None


def is_damaged(path: str) -> bool:
    """Return whether a file of a table cannot be read whole; a few of its rows are in memory at a time.

    Raises:
      OSError: the storage fails.
    """
    try:
        with open_table(path) as parquet:
            for _ in parquet.iter_batches(ROWS_PER_GROUP, use_threads=False):
                pass
    except OutputError:
        return True
    return False


def read_each(folder: str, read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Read several files of a folder, or move them, and yield the results in their order.

    In a bucket, a few threads do it, since each file takes two or more requests, which mostly wait. They are only a few
    files ahead of the consumer. For local files, threads would only take turns, and Arrow reserves memory
    for each thread that uses it.
    """
    if not storage.is_remote(folder):
        yield from map(read, items)
        return
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tables") as executor:
        try:
            for item in items:
                begun.append(executor.submit(read, item))
                if len(begun) == 2 * _AT_ONCE:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
