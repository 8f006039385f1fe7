"""Runs that end before they commit what they have staged, and those that recover it."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.output.compatible import check_output, kind_of_run
from pipelines.output.journal import staging_folders
from pipelines.output.lock import hold_output
from pipelines.output.recovery import Recovered, recover_rows
from pipelines.output.run import PREDICTIONS, Run
from pipelines.output.staged import announce
from pipelines.output.written import StagedFile
from tests.pipelines.output.rows import Rows, stage


def die(run: Run, *files: Rows) -> list[StagedFile]:
    """Stage rows as a run that ends before its commit."""
    announce(run)
    return [staged for rows in files for staged in stage(run, rows)]


def recovered(run: Run) -> list[Recovered]:
    """Begin another run."""
    with hold_output(run):
        found = list(recover_rows(run, kind_of_run(run)))
        check_output(run)
    assert staging_folders(run.output) == []
    return found


def predicted(*names: str, fingerprint: str = "1") -> Rows:
    return dict.fromkeys(names, (PREDICTIONS, fingerprint))


def inodes(paths: list[str]) -> set[int]:
    return {os.stat(path).st_ino for path in paths}


def in_place(run: Run) -> list[str]:
    return [str(path) for path in Path(run.output).glob("*/*.parquet")]
