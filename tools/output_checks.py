"""What a reader of an output must find, whatever has disturbed the runs that wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ScenetagsError
from pipelines.output.run import FAILURES, PREDICTIONS, RUNS
from pipelines.results.outputs import open_output

# Columns that differ between runs of the same images and model.
_OF_THE_RUN = {"run"}


class Archive(NamedTuple):
    """The images that all runs tag.

    Attributes:
      images: folder of the images, some of them damaged.
      command: that tags them, or retags their rows, with `OUTPUT` for its output.
      before: initial output of a disrupted run; None for an empty one.
      expected: rows of an undisturbed run, by table.
      seconds: for which the undisturbed run was at work on its output.
      bytes: total size of the files it wrote.
    """

    images: Path
    command: Sequence[str]
    before: Path | None
    expected: dict[str, pa.Table]
    seconds: float
    bytes: int


class BrokenGuaranteeError(AssertionError):
    """Rows were lost, duplicated or wrong."""


def look(archive: Archive, output: Path) -> int:
    """Check an output as a reader may see it at any time, and return its number of rows.

    Raises:
      BrokenGuaranteeError: a file cannot be opened, or an image has two rows in a table or has lost all of its rows.
    """
    rows = read_rows(output)
    replacing = "--overwrite" in archive.command
    for table, found in rows.items():
        # Old and new rows are visible together only while an overwrite moves its files into place.
        if not replacing:
            _refuse_doubles(found, table)
    if archive.before:
        lost = _paths(read_rows(archive.before)) - _paths(rows)
        if lost:
            raise BrokenGuaranteeError(f"{len(lost)} images have lost their rows, e.g. {min(lost)}")
    return sum(found.num_rows for found in rows.values())


def judge(archive: Archive, output: Path) -> None:
    """Compare a finished output with the undisturbed one.

    Raises:
      BrokenGuaranteeError: they differ.
    """
    for table, found in read_rows(output).items():
        _refuse_doubles(found, table)
        expected = archive.expected[table]
        if not found.equals(expected):
            wrong = set(map(str, found.to_pylist())) ^ set(map(str, expected.to_pylist()))
            raise BrokenGuaranteeError(f"{len(wrong)} rows of {table} differ, e.g. {min(wrong)}")
    left = {path.name for path in output.iterdir()} - {PREDICTIONS, FAILURES, RUNS}
    if left:
        raise BrokenGuaranteeError(f"left behind: {', '.join(sorted(left))}")
    last = open_output(str(output)).manifests()[-1]
    counts = last.accounts
    if last.status != "done" or not counts.balanced:
        rows = counts.predictions + counts.failures + counts.skipped
        raise BrokenGuaranteeError(f"manifest: {last.status}, {counts.inputs} inputs, {rows} rows")


def read_rows(output: Path) -> dict[str, pa.Table]:
    """Read the rows of both tables, sorted by path, without the columns that differ between runs."""
    # A run that is killed early has not made its output yet.
    output.mkdir(exist_ok=True)
    opened = open_output(str(output))
    rows = {}
    for table, files, read in (
        (PREDICTIONS, opened.prediction_files, opened.predictions),
        (FAILURES, opened.failure_files, opened.failures),
    ):
        try:
            found = read() if files else pa.table({"path": pa.array([], pa.string())})
        except ScenetagsError as error:
            raise BrokenGuaranteeError(str(error)) from error
        found = found.drop_columns(list(_OF_THE_RUN & set(found.column_names)))
        rows[table] = found.sort_by("path").combine_chunks().replace_schema_metadata(None)
    return rows


def _refuse_doubles(rows: pa.Table, table: str) -> None:
    counts = pc.value_counts(rows["path"])
    doubled = [count["values"].as_py() for count in counts if count["counts"].as_py() > 1]
    if doubled:
        raise BrokenGuaranteeError(f"{len(doubled)} images have two rows in {table}, e.g. {min(doubled)}")


def _paths(rows: dict[str, pa.Table]) -> set[str]:
    return {path for table in rows.values() for path in table["path"].to_pylist()}
