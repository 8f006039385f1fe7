"""Rows that a dead run has staged are committed by the next one, once each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.output.closing import close_wave
from pipelines.output.commit import StagedFile, commit, recover
from pipelines.output.compatible import check_output, kind_of_run
from pipelines.output.journal import staging_folders
from pipelines.output.lock import hold_output
from pipelines.output.manifest import read_accounts, read_status
from pipelines.output.recovery import Recovered, recover_rows
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.staged import announce
from pipelines.output.tables import OutputError
from tests.pipelines.output.rows import BOTH, FIRST, SECOND, Rows, commit_rows, once, seen, stage, written


def die(run: Run, *files: Rows) -> list[StagedFile]:
    """Stage rows as a run that ends before its commit."""
    announce(run)
    return [staged for rows in files for staged in stage(run, rows)]


def recovered(run: Run) -> list[Recovered]:
    """Begin the next run."""
    with hold_output(run):
        found = list(recover_rows(run, kind_of_run(run)))
        check_output(run)
    assert staging_folders(run.output) == []
    return found


def predicted(*names: str) -> Rows:
    return dict.fromkeys(names, (PREDICTIONS, "1"))


def test_rows_of_a_dead_run_are_committed_by_the_next_one(first: Run, second: Run) -> None:
    staged = die(first, FIRST)
    inodes = {os.stat(file.staged).st_ino for file in staged}

    [found] = recovered(second)

    assert seen(first.output) == once(FIRST)
    assert inodes == {os.stat(path).st_ino for path in Path(first.output).glob("*/*.parquet")}, "a file was rewritten"
    accounts = read_accounts(first.manifest)
    assert (accounts.inputs, accounts.predictions, accounts.failures) == (6, 3, 3)
    assert accounts.balanced
    assert accounts == replace(sum((file.accounts for file in staged), Accounts()), inputs=6)
    assert read_status(first.manifest) == "recovered"
    assert found.lines() == [f"recovered 3 images that run {first.name} had tagged before it ended, and 3 failures"]
    assert recovered(second) == []


def test_newer_rows_take_the_place_of_older_ones(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    die(second, SECOND)
    recovered(replace(second, name="20260101T000000Z-0003"))

    assert seen(second.output) == once(BOTH)
