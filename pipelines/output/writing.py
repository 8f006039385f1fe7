"""Write rows to staged Parquet files, and count them on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.inference.scale import is_oversized
from pipelines.inference.shift import Seen
from pipelines.inference.tagging import choose_tags
from pipelines.output.arrow import make_table
from pipelines.output.geography import Extent, along_curve
from pipelines.output.run import EMPTY, FAILURES, PREDICTIONS, Accounts, Run
from pipelines.output.schema import EMPTY_COLUMNS, Tagged, failure_columns, prediction_columns
from pipelines.output.staged import Contents, describe_contents
from pipelines.output.tables import PARQUET_OPTIONS, ROWS_PER_GROUP, ROWS_PER_REGION
from pipelines.output.written import StagedFile, Superseded
from pipelines.records import Empty, Failure, Prediction

_ROWS_AT_ONCE = 16_384
"""Rows of windows that are sorted by place together."""


class Table(Protocol):
    """One of the tables, and how its rows are converted to columns."""

    name: str

    def lay_out(self, rows: Sequence[Any], run: Run) -> tuple[pa.Table, Accounts]:
        """Convert rows to an Arrow table, and count them."""


class PredictionTable:
    """The rows of `predictions/`."""

    name = PREDICTIONS

    def lay_out(self, rows: Sequence[Prediction], run: Run) -> tuple[pa.Table, Accounts]:
        """Convert predictions to an Arrow table, and count them, their tags and their repairs.

        Windows of scenes are sorted by place.
        """
        rows = along_curve(rows) if run.grid else rows
        probabilities = np.stack([row.probabilities for row in rows])
        tags = choose_tags(probabilities, run.bundle.labels, run.thresholds, run.rules)
        novelty, seen = _look(rows, run)
        table = make_table(prediction_columns(run), list(map(Tagged, rows, tags, novelty)), run)
        accounts = Accounts(
            predictions=len(rows),
            tags=Counter(tag for chosen in tags for tag in chosen),
            oversized=sum(is_oversized(row.width, row.height, run.bundle) for row in rows),
            repairs=Counter(repair for row in rows for repair in row.repairs),
            seen=seen,
        )
        return table, accounts


def _look(rows: Sequence[Prediction], run: Run) -> tuple[Iterable[float | None], Seen]:
    """Return how strange the images of predictions are, and what was measured of all of them."""
    reference, measured = run.bundle.reference, [row.appearance for row in rows if row.appearance is not None]
    if reference is None or not measured:
        return [None] * len(rows), Seen()
    appearances = np.stack(measured)
    return reference.novelty(appearances), Seen(len(rows), tuple(map(float, appearances.sum(axis=0))))


class FailureTable:
    """The rows of `failures/`."""

    name = FAILURES

    def lay_out(self, rows: Sequence[Failure], run: Run) -> tuple[pa.Table, Accounts]:
        """Convert failures to an Arrow table, and count them by stage and error."""
        accounts = Accounts(failures=len(rows), errors=Counter(f"{row.stage}: {row.error}" for row in rows))
        return make_table(failure_columns(run), rows, run), accounts


class EmptyTable:
    """The rows of `empty/`."""

    name = EMPTY

    def lay_out(self, rows: Sequence[Empty], run: Run) -> tuple[pa.Table, Accounts]:
        """Convert empty windows to an Arrow table, and count them."""
        return make_table(EMPTY_COLUMNS, rows, run), Accounts(empty=len(rows))


class TableFiles:
    """Write rows of one table to staged files: those that replace older rows of their images to one of their own.

    A commit then reads that one only, and moves the other one unread.
    """

    def __init__(self, table: Table, run: Run) -> None:
        """Begin without a file."""
        self._new, self._replacing = TableWriter(table, run), TableWriter(table, run)

    def write(self, row: Prediction | Failure | Empty) -> None:
        """Take one row."""
        (self._replacing if replaced_file(row) else self._new).write(row)

    def close(self) -> list[StagedFile]:
        """Finish the files."""
        return [file for writer in (self._new, self._replacing) if (file := writer.close())]


def replaced_file(row: Prediction | Failure | Empty) -> str:
    """Return the file with the older row that a row replaces; empty if its image has none."""
    return row.replaces if isinstance(row, Failure) else row.ref.replaces


class TableWriter:
    """Write rows of one table to one staged file, which is created with the first row group.

    All of them must replace older rows, or none.
    """

    def __init__(self, table: Table, run: Run) -> None:
        """Choose a file name that no other attempt at the same rows uses."""
        self._table = table
        self._run = run
        self._staged = run.stage(table.name)
        self._rows: list[Any] = []
        self._accounts = Accounts()
        self._superseded: list[Superseded] = []
        self._by_place = bool(run.grid) and table.name == PREDICTIONS
        self._at_once = _ROWS_AT_ONCE if self._by_place else ROWS_PER_GROUP
        self._extent = Extent()
        self._file: IO[bytes] | None = None
        self._writer: pq.ParquetWriter | None = None

    def write(self, row: Prediction | Failure | Empty) -> None:
        """Take one row."""
        self._rows.append(row)
        if file := replaced_file(row):
            path = row.path if isinstance(row, Failure) else row.ref.path
            self._superseded.append(Superseded(self._run.known_as(path), file))
        if len(self._rows) >= self._at_once:
            self._write_group()

    def close(self) -> StagedFile | None:
        """Finish the file; return None if there were no rows, and hence no file."""
        if self._rows:
            self._write_group()
        if self._file is None or self._writer is None:
            return None
        if self._by_place:
            self._writer.add_key_value_metadata(self._extent.metadata())
        replaces = {row.path: row.file for row in self._superseded}
        self._writer.add_key_value_metadata(describe_contents(Contents(self._accounts, replaces)))
        self._writer.close()
        size = self._file.tell()
        self._file.close()
        return StagedFile(self._staged, self._table.name, self._accounts, size, tuple(self._superseded))

    def _write_group(self) -> None:
        table, accounts = self._table.lay_out(self._rows, self._run)
        if self._writer is None:
            self._file = storage.create(self._staged)
            self._writer = pq.ParquetWriter(self._file, table.schema, **PARQUET_OPTIONS)
        self._extent.add(table)
        self._writer.write_table(table, row_group_size=ROWS_PER_REGION if self._by_place else None)
        self._accounts += accounts
        self._rows = []
