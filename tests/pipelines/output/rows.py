"""Stage and commit rows by hand, and see what a plain look finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.output.commit import commit
from pipelines.output.earlier import EarlierRows
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.writing import FailureTable, PredictionTable, TableFiles
from pipelines.output.written import StagedFile, Written
from pipelines.records import Failure, ImageRef, Prediction
from tests import outputs

Rows = Mapping[str, tuple[str, str]]
"""The table and the fingerprint of each path."""

FIRST: Rows = {
    **dict.fromkeys(("stays.jpg", "changed.jpg", "broken.jpg"), (PREDICTIONS, "old")),
    **dict.fromkeys(("still failed.jpg", "mended.jpg", "failed as before.jpg"), (FAILURES, "old")),
}
SECOND: Rows = {
    **dict.fromkeys(("changed.jpg", "mended.jpg", "came.jpg"), (PREDICTIONS, "new")),
    **dict.fromkeys(("broken.jpg", "failed as before.jpg", "came broken.jpg"), (FAILURES, "new")),
}
BOTH: Rows = {**FIRST, **SECOND}


def stage(run: Run, rows: Rows, all_new: bool = False) -> list[StagedFile]:
    """Stage rows, one file a table, and another one for those that replace rows of an earlier run.

    With `all_new`, nobody looks for rows of earlier runs.
    """
    predictions, failures = TableFiles(PredictionTable(), run), TableFiles(FailureTable(), run)
    earlier = None if all_new else EarlierRows.read(run.folder, run.name)
    for path, (table, fingerprint) in rows.items():
        older = earlier and earlier.find(path, fingerprint)
        replaces = older.file if older else ""
        if table == PREDICTIONS:
            probabilities = np.full(len(run.bundle.labels), 0.5, np.float32)
            ref = ImageRef(path, 1, fingerprint, replaces=replaces)
            predictions.write(Prediction(ref, 8, 8, "jpeg 3x8", (), probabilities))
        else:
            failures.write(Failure(path, "decode", "DamagedImageError", "cut off", fingerprint, replaces=replaces))
    return [*predictions.close(), *failures.close()]


def commit_rows(run: Run, rows: Rows, last: bool = True) -> Accounts:
    return commit(run, Wave(inputs=len(rows), last=last), written(stage(run, rows)))


def written(files: Sequence[StagedFile]) -> Written:
    return Written(files, (), Accounts())


def seen(output: str) -> dict[str, list[tuple[str, str]]]:
    """Read what a plain look at the tables finds of each path; every file must open."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table in (PREDICTIONS, FAILURES):
        for row in outputs.rows(output, table):
            found.setdefault(row["path"], []).append((table, row["fingerprint"]))
    return found


def once(rows: Rows) -> dict[str, list[tuple[str, str]]]:
    return {path: [row] for path, row in rows.items()}
