"""Read one file of an output: its head, its columns or, of a manifest, its content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import ScenetagsError
from pipelines.output.footers import Footer, read_footer
from pipelines.output.manifest import accounts_of, read_content
from pipelines.output.run import Accounts
from pipelines.output.schema import NOVELTY
from pipelines.output.tables import count_rows, open_table


class NoOutputError(ScenetagsError):
    """A path without an output of `scenetags predict`, or with one that cannot be read as a whole."""


class Manifest(NamedTuple):
    """The manifest of a run.

    Attributes:
      run: the run's name.
      status: how it ended, e.g. `done`.
      accounts: its counts.
      described: the whole content of the file.
    """

    run: str
    status: str
    accounts: Accounts
    described: Mapping[str, Any]


class Head(NamedTuple):
    """What all predictions of an output have in common.

    Attributes:
      footer: what they were made with.
      columns: that any file has, with the metadata of the first.
      rows: their number.
    """

    footer: Footer
    columns: pa.Schema
    rows: int

    @property
    def has_novelty(self) -> bool:
        """Whether rows say how strange their images are."""
        # In an output of an earlier version, the list of images may have had such a column.
        return NOVELTY.name in self.columns.names and NOVELTY.name not in [kept.name for kept in self.footer.kept]


def read_head(path: str) -> Head:
    """Read what a file of predictions says of itself.

    Raises:
      NoOutputError: scenetags did not write the file, or it cannot be read.
      OutputError: it is damaged.
    """
    with readable(path), open_table(path) as parquet:
        columns, rows = parquet.schema_arrow, parquet.metadata.num_rows
    footer = read_footer(columns)
    if footer is None or not set(footer.columns.values()) <= set(columns.names):
        raise NoOutputError(f"scenetags did not write {path}: its footer names no model, or columns are missing")
    return Head(footer, columns, rows)


def read_schema(path: str) -> pa.Schema:
    """Read the columns of a file.

    Raises:
      NoOutputError: it cannot be read.
      OutputError: it is damaged.
    """
    with readable(path), open_table(path) as parquet:
        return parquet.schema_arrow


def rows_in(path: str) -> int:
    """Return the number of rows of a file.

    Raises:
      NoOutputError: it cannot be read.
      OutputError: it is damaged.
    """
    with readable(path):
        return count_rows(path)


def columns_there(path: str, parquet: pq.ParquetFile, needed: Iterable[str]) -> list[str]:
    """Name the columns of a file.

    Raises:
      NoOutputError: one that is needed is not among them.
    """
    names: list[str] = parquet.schema_arrow.names
    if missing := set(needed) - set(names):
        raise NoOutputError(f"{path} has no column {min(missing)}, so scenetags did not write it")
    return names


def completed(batch: pa.RecordBatch, fields: pa.Schema) -> pa.RecordBatch:
    """Bring columns to their types, and add those that are missing."""
    names = set(batch.schema.names)
    arrays = [
        batch.column(field.name).cast(field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in fields
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=fields)


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Report a file that the storage refuses as one that cannot be read.

    Raises:
      NoOutputError: it does.
    """
    try:
        yield
    except OSError as error:
        # It was there when the output was listed.
        remedy = "if a run has just replaced it, run the same command again" * isinstance(error, FileNotFoundError)
        raise NoOutputError(f"cannot read {path}: {error.strerror or error}", remedy) from error


def read_manifest(path: str) -> Manifest:
    """Read the manifest of a run.

    Raises:
      NoOutputError: the file is none, or it cannot be read.
    """
    try:
        with readable(path):
            described = read_content(path)
        accounts = accounts_of(described)
        counts = accounts.inputs, accounts.predictions, accounts.failures, accounts.skipped, accounts.empty
        if not all(type(count) is int for count in counts):
            raise TypeError("a count is not a number")
        return Manifest(described["run"], described["status"], accounts, described)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise NoOutputError(f"{path} is not a manifest of a run: {reason}", "move it out of the output") from error
