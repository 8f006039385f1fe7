"""Stage and commit rows by hand, and see what a plain look finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.output.commit import StagedFile, Superseded, Written, commit
from pipelines.output.earlier import EarlierRows
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.writing import FailureTable, PredictionTable, TableWriter
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


def stage(run: Run, rows: Rows) -> list[StagedFile]:
    """Stage rows, one file a table."""
    predictions, failures = TableWriter(PredictionTable(), run), TableWriter(FailureTable(), run)
    for path, (table, fingerprint) in rows.items():
        if table == PREDICTIONS:
            probabilities = np.full(len(run.bundle.labels), 0.5, np.float32)
            predictions.write(Prediction(ImageRef(path, 1, fingerprint), 8, 8, "jpeg 3x8", (), probabilities))
        else:
            failures.write(Failure(path, "decode", "DamagedImageError", "cut off", fingerprint))
    return [file for writer in (predictions, failures) if (file := writer.close())]


def commit_rows(run: Run, rows: Rows, last: bool = True) -> Accounts:
    return commit(run, Wave(inputs=len(rows), last=last), written(stage(run, rows), superseded(run, rows)))


def written(files: Sequence[StagedFile], older: Sequence[Superseded] = ()) -> Written:
    return Written(files, older, Accounts())


def superseded(run: Run, rows: Rows) -> list[Superseded]:
    """Name the rows that an earlier run has left of these images."""
    earlier = EarlierRows.read(run.folder, run.name)
    found = ((path, earlier.find(path, fingerprint)) for path, (_, fingerprint) in rows.items())
    return [Superseded(path, row.file) for path, row in found if row]


def seen(output: str) -> dict[str, list[tuple[str, str]]]:
    """Read what a plain look at the tables finds of each path; every file must open."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table in (PREDICTIONS, FAILURES):
        for row in outputs.rows(output, table):
            found.setdefault(row["path"], []).append((table, row["fingerprint"]))
    return found


def once(rows: Rows) -> dict[str, list[tuple[str, str]]]:
    return {path: [row] for path, row in rows.items()}
