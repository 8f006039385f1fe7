"""Give each table a file even while it has no rows: readers fail on a folder without files, or find no columns."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from pipelines import storage
from pipelines.output.arrow import make_schema
from pipelines.output.footers import FOOTER
from pipelines.output.run import FAILURES, PREDICTIONS, TABLES, OutputRun, Run
from pipelines.output.schema import failure_columns, prediction_columns
from pipelines.output.tables import NO_ROWS, count_rows, open_table, write_table
from pipelines.storage import Move

Columns = Mapping[str, pa.Schema]
"""Those of each table that always has a file, by its name."""


def columns_of(run: Run) -> Columns:
    """Return the columns of the tables that always have a file."""
    return {PREDICTIONS: make_schema(prediction_columns(run), run), FAILURES: make_schema(failure_columns(run), run)}


def stage_columns(run: OutputRun, columns: Columns, moves: Sequence[Move], deletions: Iterable[str]) -> list[Move]:
    """Write a file without rows for each table that would have no file, or only one with the columns of another model.

    Args:
      run: whose staging folder they are written to.
      columns: of the tables.
      moves: of other files into the output.
      deletions: of files from it.

    Returns:
      The ways of these files into the output.

    Raises:
      OSError: the output cannot be read or written.
    """
    arriving, going = {move.target for move in moves}, set(deletions)
    staged = []
    for table, schema in columns.items():
        there = map(run.relative, storage.list_files(storage.join(run.output, table), ".parquet"))
        files = {file for file in (*there, *arriving) if posixpath.dirname(file) == table} - (going - arriving)
        target = posixpath.join(table, NO_ROWS)
        if target in files and _has_columns(storage.join(run.output, target), schema):
            continue
        if target in files or not files:
            source = storage.join(run.staging, table, NO_ROWS)
            write_table(source, schema.empty_table())
            staged.append(Move(run.relative(source), target))
    return staged


def outdated_columns(run: OutputRun, moves: Sequence[Move]) -> list[str]:
    """Name the files without rows in those tables that get others: they may have the columns of another model.

    Raises:
      OutputError: one is damaged.
      OSError: the output cannot be read.
    """
    folders = {posixpath.dirname(move.target) for move in moves}
    files = [posixpath.join(folder, NO_ROWS) for folder in sorted(folders) if posixpath.basename(folder) in TABLES]
    there = [name for name in files if storage.exists(storage.join(run.output, name))]
    return [name for name in there if not count_rows(storage.join(run.output, name))]


def _has_columns(path: str, schema: pa.Schema) -> bool:
    """Return whether a file has these columns, made with the same model and flags."""
    footer = FOOTER.encode()
    with open_table(path) as parquet:
        theirs = parquet.schema_arrow
    return bool(theirs.equals(schema) and theirs.metadata.get(footer) == schema.metadata[footer])
