"""Write rows to staged Parquet files, and count them while they pass."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.commit import StagedFile
from pipelines.ledger import FAILURES, PREDICTIONS, Accounts, Run
from pipelines.records import (
    Failure,
    Prediction,
    failure_schema,
    failure_table,
    prediction_schema,
    prediction_table,
)
from pipelines.tables import FORMAT, ROWS_A_GROUP
from pipelines.tagging import choose_tags


class Rows(Protocol):
    """A kind of rows, and how they become a table."""

    table: str

    def schema(self, run: Run) -> pa.Schema:
        """Describe the table's columns."""

    def lay_out(self, rows: Sequence[Any], run: Run) -> tuple[pa.Table, Accounts]:
        """Make a table of rows, and count them."""


class PredictionRows:
    """Rows of `predictions/`."""

    table = PREDICTIONS

    def schema(self, run: Run) -> pa.Schema:
        """Describe the table's columns."""
        return prediction_schema(run.bundle, run.thresholds)

    def lay_out(self, rows: Sequence[Prediction], run: Run) -> tuple[pa.Table, Accounts]:
        """Make a table of predictions, and count them, their tags and their repairs."""
        probabilities = np.stack([row.probabilities for row in rows])
        tags = choose_tags(probabilities, run.bundle.labels, run.thresholds)
        table = prediction_table(rows, self.schema(run), tags, run.bundle.digest, run.name)
        accounts = Accounts(
            predictions=len(rows),
            tags=Counter(tag for chosen in tags for tag in chosen),
            repairs=Counter(repair for row in rows for repair in row.repairs),
        )
        return table, accounts


class FailureRows:
    """Rows of `failures/`."""

    table = FAILURES

    def schema(self, run: Run) -> pa.Schema:
        """Describe the table's columns."""
        return failure_schema(run.bundle, run.thresholds)

    def lay_out(self, rows: Sequence[Failure], run: Run) -> tuple[pa.Table, Accounts]:
        """Make a table of failures, and count them by stage and error."""
        table = failure_table(rows, self.schema(run), run.bundle.digest, run.name)
        return table, Accounts(failures=len(rows), errors=Counter(f"{row.stage}: {row.error}" for row in rows))


class TableWriter:
    """Write rows of one kind to one staged file, which is begun with the first row."""

    def __init__(self, kind: Rows, run: Run) -> None:
        """Prepare a file of a name that no other attempt at the same rows uses."""
        self._kind = kind
        self._run = run
        self._name = f"{run.name}-{uuid.uuid4().hex[:12]}.parquet"
        self._rows: list[Any] = []
        self._accounts = Accounts()
        self._file: IO[bytes] | None = None
        self._writer: pq.ParquetWriter | None = None

    def write(self, row: Prediction | Failure) -> None:
        """Take one row."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_A_GROUP:
            self._write_group()

    def close(self) -> StagedFile | None:
        """Finish the file; None when there were no rows, and so is no file."""
        if self._rows:
            self._write_group()
        if self._file is None or self._writer is None:
            return None
        self._writer.close()
        self._file.close()
        return StagedFile(self._staged, self._kind.table, self._accounts)

    @property
    def _staged(self) -> str:
        return storage.join(self._run.staging, self._kind.table, self._name)

    def _write_group(self) -> None:
        table, accounts = self._kind.lay_out(self._rows, self._run)
        if self._writer is None:
            self._file = storage.create(self._staged)
            self._writer = pq.ParquetWriter(self._file, table.schema, **FORMAT)
        self._writer.write_table(table)
        self._accounts += accounts
        self._rows = []
