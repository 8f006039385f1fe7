"""The rows of two outputs side by side, matched by the paths of their images, in a database.

DuckDB does not read the files itself: in buckets it would need an extension, and it compares no checksums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.output.footers import Footer
from pipelines.output.run import FAILURES
from pipelines.output.tags import mark_tags
from pipelines.results.outputs import Output
from pipelines.supervision.machine import available_cores, usable_memory
from pipelines.supervision.temporary import TemporaryFolderError, temporary_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MATCHED = "a JOIN b USING (path)"
"""The images that both outputs have; each table has `path` and `fingerprint`, and with an item for each label `tags`
(whether it is one) and `probabilities` (null where the model does not know the label)."""

BY_LABEL = "by_label"
"""The same, with a row for each label of an image: `path`, `fingerprint` (in B), the `number` of the label, `tag_a`,
`tag_b`, the probabilities `a` and `b`, and `change`, their difference without its sign. With columns for each label,
DuckDB would have to plan thousands of expressions."""

_SHARE_OF_MEMORY = 4
_PATHS = pa.schema([("path", pa.string())])


@contextmanager
def matched(
    outputs: Sequence[Output], footers: Sequence[Footer], labels: Sequence[str]
) -> Iterator[DuckDBPyConnection]:
    """Load two outputs into a database that takes a quarter of the memory at the most, and then a temporary folder.

    Args:
      outputs: A and B.
      footers: what their predictions were made with.
      labels: to compare, in the order of the columns' numbers.

    Yields:
      A connection to tables `a`, `b`, and `failed_a`, `failed_b` with the paths of failures.

    Raises:
      NoOutputError: an output has two predictions for an image, or its files are not as scenetags writes them.
      OutputError: a file is damaged.
      TemporaryFolderError: memory and the disk for temporary files are too small for the rows.
    """
    with temporary_folder() as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{max(usable_memory() // _SHARE_OF_MEMORY, 1 << 28)}B",
            "threads": available_cores(),
            "temp_directory": folder,
            "preserve_insertion_order": False,
        }
        try:
            with duckdb.connect(":memory:", config=settings) as database:
                for name, output, footer in zip("ab", outputs, footers, strict=True):
                    _load(database, name, output, footer, labels)
                    _load_failures(database, f"failed_{name}", output)
                database.execute(
                    f"CREATE VIEW {BY_LABEL} AS SELECT *, abs(b - a) AS change FROM (SELECT path, b.fingerprint, "
                    f"unnest(range({len(labels)})) AS number, unnest(a.tags) AS tag_a, unnest(b.tags) AS tag_b, "
                    f"unnest(a.probabilities) AS a, unnest(b.probabilities) AS b FROM {MATCHED})"
                )
                yield database
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            reason = str(error).partition("\n")[0]
            raise TemporaryFolderError(
                f"the rows fit neither in memory nor in {os.path.dirname(folder)}: {reason}",
                "set TMPDIR to a folder on a larger disk",
            ) from error


def count(database: DuckDBPyConnection, query: str) -> int:
    """Return the one number that a query gives."""
    return int(rows(database, query)[0][0])


def rows(database: DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return database.execute(query).fetchall()


def _load(database: DuckDBPyConnection, name: str, output: Output, footer: Footer, labels: Sequence[str]) -> None:
    columns = {number: footer.columns[label] for number, label in enumerate(labels) if label in footer.columns}
    fields = [("path", pa.string()), ("fingerprint", pa.string()), ("tags", pa.list_(pa.string()))]
    schema = pa.schema([*fields, *((column, pa.float32()) for column in columns.values())])
    database.execute(f"CREATE TABLE {name} (path VARCHAR, fingerprint VARCHAR, tags BOOLEAN[], probabilities FLOAT[])")
    for batch in output.pieces(schema, made_with=footer):
        probabilities = np.full((batch.num_rows, len(labels)), np.nan, np.float32)
        for number, column in columns.items():
            probabilities[:, number] = batch.column(column).to_numpy(zero_copy_only=False)
        # With the names of the table's columns, and in their order.
        by_name = {
            "path": batch.column("path"),
            "fingerprint": batch.column("fingerprint"),
            "tags": _as_lists(mark_tags(batch.column("tags"), labels)),
            "probabilities": _as_lists(probabilities),
        }
        _insert(database, name, pa.table(by_name))


def _as_lists(items: NDArray[Any]) -> pa.ListArray:
    """Return each row as a list; in it, what is not a number is null."""
    rows, length = items.shape
    ends = np.arange(rows + 1, dtype=np.int32) * length
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(items.ravel(), from_pandas=True))


def _load_failures(database: DuckDBPyConnection, name: str, output: Output) -> None:
    database.execute(f"CREATE TABLE {name} (path VARCHAR)")
    for batch in output.pieces(_PATHS, table=FAILURES):
        _insert(database, name, pa.table(batch))


def _insert(database: DuckDBPyConnection, name: str, table: pa.Table) -> None:
    database.register("piece", table)
    database.execute(f"INSERT INTO {name} SELECT * FROM piece")
    database.unregister("piece")
