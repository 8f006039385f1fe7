"""The files of an output's tables: where they are, and how they are written and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.errors import ScenetagsError
from pipelines.output.run import FAILURES, PREDICTIONS
from pipelines.output.schema import FAILURE_COLUMNS, PREDICTION_COLUMNS, dictionary_columns

Item = TypeVar("Item")
Result = TypeVar("Result")

ROWS_A_GROUP = 8192
"""Rows that are laid out at once and become one Parquet row group; 8192 predictions of 17 labels take 3 MB."""

FORMAT = {
    "compression": "zstd",
    # Of values that do not repeat, a dictionary and the places in it take half as much again as the values alone.
    "use_dictionary": dictionary_columns([*PREDICTION_COLUMNS, *FAILURE_COLUMNS]),
    "write_page_checksum": True,
}
"""How tables are written. Without checksums most bits that change in a file give other rows and no error."""

_AT_ONCE = 8


class OutputError(ScenetagsError):
    """An output folder that this run must not or cannot write into."""


def table_files(folder: str) -> Iterator[str]:
    """List the files of both tables in a folder."""
    for table in (PREDICTIONS, FAILURES):
        yield from storage.list_files(storage.join(folder, table), ".parquet")


@contextmanager
def open_table(path: str) -> Iterator[pq.ParquetFile]:
    """Open a file of a table, to read from it as long as it is open.

    Raises:
      OutputError: it is damaged.
      OSError: it cannot be read.
    """
    try:
        with storage.open_to_read(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            yield parquet
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        # Arrow raises OSError for what cannot be decompressed as well; one of the storage's has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # It is told in our words alone: who looks for the cause of a run's end would take Arrow's for the storage's.
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OutputError(
            f"{path} is damaged, or no Parquet file at all ({reason}): move it away, and what it held is tagged again"
        ) from None


def read_each(folder: str, read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Read several files of a folder, and give what is read in their order.

    In a bucket a few threads do it, for there each file costs two requests or more, which wait longer than they work.
    Here they would only take turns, and Arrow sets memory aside for each thread that uses it.
    """
    if not storage.is_remote(folder):
        yield from map(read, items)
        return
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tables") as executor:
        yield from executor.map(read, items)
