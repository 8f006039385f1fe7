"""Read an output, local or in a bucket: its predictions, failures, manifests, and file footers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pipelines import storage
from pipelines.listing.lists.names import NoNameError
from pipelines.output.footers import Footer, name_difference, read_footer
from pipelines.output.journal import shadow_folders, staging_folders
from pipelines.output.run import FAILURES, PREDICTIONS, RUNS
from pipelines.output.single_rows import Paths
from pipelines.output.staged import holds_rows
from pipelines.output.tables import ROWS_PER_GROUP, holds_tables, open_table, read_each
from pipelines.results.files import (
    Head,
    Manifest,
    NoOutputError,
    columns_there,
    completed,
    read_head,
    read_manifest,
    read_schema,
    readable,
    rows_in,
)
from pipelines.results.states import changed, check_finished, check_unchanged, list_tables, listable

_PATH = "path"
_PATHS = pa.schema([(_PATH, pa.string())])
_ERROR = "error"


@dataclass(frozen=True)
class Output:
    """An output folder.

    Attributes:
      path: of the folder, local or in a bucket.
      prediction_files: files of `predictions/`, in the order of the runs that wrote them.
      failure_files: files of `failures/`, likewise.
      fingerprints: of all these files when they were listed.
    """

    path: str
    prediction_files: Sequence[str]
    failure_files: Sequence[str]
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def footers(self) -> Iterator[Footer]:
        """Read the footer of each prediction file, in the order of the files.

        Raises:
          NoOutputError: scenetags did not write a file.
          OutputError: a file is damaged.
        """
        return (head.footer for head in read_each(self.path, read_head, self.prediction_files))

    def first_footer(self) -> Footer:
        """Read what the first predictions were made with; raises as `head` does if there are none."""
        for footer in replace(self, prediction_files=self.prediction_files[:1]).footers():
            return footer
        raise self._lacks(PREDICTIONS)

    def footer(self) -> Footer:
        """Read what all predictions were made with; raises as `head` does."""
        return self.head().footer

    def head(self) -> Head:
        """Read what all predictions have in common.

        Raises:
          NoOutputError: there are none, scenetags did not write them, their columns have several types, they were made
            with several models, precisions, thresholds, rules or raster flags, or a run has not finished a commit.
          OutputError: a file is damaged.
        """
        check_finished(self.path)
        first: Footer | None = None
        heads = list(read_each(self.path, read_head, self.prediction_files))
        for footer in (head.footer for head in heads):
            first = first or footer
            if what := name_difference(first, footer):
                retag = "choose one for all of them with `scenetags retag`"
                raise NoOutputError(
                    f"{self.path} holds predictions made with several {what}",
                    retag if what in ("thresholds", "rules") else "keep each in a folder of its own",
                )
        if first is None:
            raise self._lacks(PREDICTIONS)
        return Head(first, self._unify([head.columns for head in heads]), sum(head.rows for head in heads))

    def failure_columns(self) -> pa.Schema | None:
        """Return the columns of all failures; None if there is no file.

        Raises:
          NoOutputError: a column has several types.
          OutputError: a file is damaged.
        """
        schemas = list(read_each(self.path, read_schema, self.failure_files))
        return self._unify(schemas) if schemas else None

    def count_failures(self) -> int:
        """Count the failures.

        Raises:
          NoOutputError: a file cannot be read, or has changed since it was listed.
          OutputError: a file is damaged.
        """
        failures = sum(read_each(self.path, rows_in, self.failure_files))
        check_unchanged(self.path, self.fingerprints)
        return failures

    def count_rows(self, table: str = PREDICTIONS) -> int:
        """Count the rows of a table, `predictions` or `empty`; raises as `count_failures` does."""
        files = self.prediction_files
        if table != PREDICTIONS:
            files = storage.list_files(storage.join(self.path, table), ".parquet")
        return sum(read_each(self.path, rows_in, files))

    def predictions(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all predictions, or some of their columns, in the order of the files.

        Raises:
          NoOutputError: there is no file, one lacks a column, or a run has changed one since it was listed.
          OutputError: a file is damaged.
        """
        return self._read(PREDICTIONS, self.prediction_files, columns)

    def pieces(
        self, fields: pa.Schema, missing: Sequence[str] = (), table: str = PREDICTIONS, made_with: Footer | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read some columns of a table piece by piece, so that memory holds only one.

        Args:
          fields: the columns, and the types that they are brought to.
          missing: columns among them that a file may lack; its rows have null in these.
          table: `predictions`, of which there must be a file, or `failures`.
          made_with: what all rows were made with when `head` was read; None to take them as they are.

        Yields:
          Consecutive rows, at most `ROWS_PER_GROUP`, in the order of the files.

        Raises:
          NoOutputError: there is no file, or one lacks a column; `scenetags retag` has replaced one since; or, known at
            the end, a run has changed one since it was listed or, if the columns include the paths, several rows are of
            the same image.
          OutputError: a file is damaged, or a column has another type.
        """
        for _, batch in self.pieces_by_file(fields, missing, table, made_with):
            yield batch

    def pieces_by_file(
        self, fields: pa.Schema, missing: Sequence[str] = (), table: str = PREDICTIONS, made_with: Footer | None = None
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Read some columns of a table piece by piece, as `pieces` does, each with the file that it is from."""
        if table == PREDICTIONS and not self.prediction_files:
            raise self._lacks(table)
        paths = Paths()
        for file, batch in self._batches(table, fields, missing, made_with):
            if _PATH in fields.names:
                paths.add(batch.column(_PATH))
            yield file, batch
        check_unchanged(self.path, self.fingerprints)
        self._check_single(paths, table)

    def _check_single(self, paths: Paths, table: str) -> None:
        again = (batch.column(_PATH) for _, batch in self._batches(table, _PATHS))
        if (path := paths.find_double(again)) is not None:
            raise NoOutputError(
                f"{storage.join(self.path, table)} has two rows for {path}", "move out the file that no run wrote"
            )

    def _batches(
        self, table: str, fields: pa.Schema, missing: Sequence[str] = (), made_with: Footer | None = None
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        for path in self.prediction_files if table == PREDICTIONS else self.failure_files:
            with readable(path), open_table(path) as parquet:
                there = columns_there(path, parquet, set(fields.names) - set(missing))
                if made_with and name_difference(made_with, read_footer(parquet.schema_arrow) or made_with):
                    raise changed(self.path)
                columns = [name for name in fields.names if name in there]
                for batch in parquet.iter_batches(ROWS_PER_GROUP, columns=columns, use_threads=False):
                    yield path, completed(batch, fields)

    def failures(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all failures, or some of their columns; raises as `predictions` does."""
        return self._read(FAILURES, self.failure_files, columns)

    def failed_images(self) -> Iterator[str]:
        """Read the paths of the images that failed; lines of a list that name none are not among them.

        Raises:
          NoOutputError: a file has no paths, or has changed since it was listed.
          OutputError: a file is damaged.
        """
        for _, batch in self._batches(FAILURES, _PATHS.append(pa.field(_ERROR, pa.string()))):
            rows = zip(batch.column(_PATH).to_pylist(), batch.column(_ERROR).to_pylist(), strict=True)
            yield from (path for path, error in rows if path and error != NoNameError.__name__)
        check_unchanged(self.path, self.fingerprints)

    def manifests(self) -> list[Manifest]:
        """Read the manifests of all runs, oldest first.

        Raises:
          NoOutputError: a file in `runs/` is not a manifest, or the folder cannot be listed.
        """
        with listable(folder := storage.join(self.path, RUNS)):
            files = storage.list_files(folder, ".json")
        return list(read_each(self.path, read_manifest, files))

    def check_written(self) -> None:
        """Verify that a run has written to the folder, or begun to.

        Raises:
          NoOutputError: none has, or the folder cannot be listed.
        """
        with listable(self.path):
            traces = self.fingerprints or storage.list_files(storage.join(self.path, RUNS), ".json")
            if not (traces or staging_folders(self.path) or shadow_folders(self.path)):
                raise NoOutputError(f"no run has written to {self.path}", self._how_to_get_rows())

    def _lacks(self, table: str) -> NoOutputError:
        return NoOutputError(f"{self.path} has no {table}/*.parquet", self._how_to_get_rows())

    def _how_to_get_rows(self) -> str:
        # What fails here, as in a bucket that no longer answers, must not hide that there are no rows.
        with suppress(OSError):
            if any(holds_rows(self.path, staging) for staging in staging_folders(self.path)):
                return f"rows are staged there: let the run end, or if it has died, run scenetags recover {self.path}"
        if self.failure_files:
            # Earlier versions wrote no file for a table without rows.
            return "run `scenetags predict` again"
        return storage.hint_at_holder(PREDICTIONS, self.path) or "give the --output of a run that has committed rows"

    def _unify(self, schemas: Sequence[pa.Schema]) -> pa.Schema:
        try:
            return pa.unify_schemas(schemas)
        except pa.ArrowException as error:
            reason = str(error).partition("\n")[0]
            raise NoOutputError(f"{self.path} holds files whose columns differ: {reason}") from error

    def _read(self, table: str, files: Sequence[str], columns: Sequence[str] | None) -> pa.Table:
        def read(path: str) -> pa.Table:
            with readable(path), open_table(path) as parquet:
                columns_there(path, parquet, columns or ())
                return parquet.read(columns=columns, use_threads=False)

        tables = list(read_each(self.path, read, files))
        if not tables:
            raise self._lacks(table)
        check_unchanged(self.path, self.fingerprints)
        # Files of several models differ in their probability columns.
        return pa.concat_tables(tables, promote_options="default")


def open_output(path: str) -> Output:
    """Find the files of an output.

    Args:
      path: the `--output` of `scenetags predict`, or its folder `predictions/`.

    Raises:
      NoOutputError: there is no such folder, or it cannot be listed.
    """
    try:
        folder = storage.normalize(path)
        if not storage.is_remote(folder) and not os.path.isdir(folder):
            hint = storage.hint_at_near(path) or storage.hint_at_holder(PREDICTIONS, folder)
            raise NoOutputError(f"no folder at {path}", hint or "give the --output of `scenetags predict`")
        # An output may have the name of its table.
        if os.path.basename(folder) == PREDICTIONS and not holds_tables(folder):
            folder = os.path.dirname(folder)
    except storage.UnsupportedStorageError as error:
        raise NoOutputError(str(error)) from error
    fingerprints = list_tables(folder, path)
    below = [f"{storage.join(folder, table)}/" for table in (PREDICTIONS, FAILURES)]
    predictions, failures = ([file for file in fingerprints if file.startswith(beginning)] for beginning in below)
    return Output(folder, predictions, failures, fingerprints)
