"""A commit is seen as a whole, and a row takes the place of its older one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.output.commit
from pipelines import storage
from pipelines.output.closing import check_not_ended, close_wave
from pipelines.output.commit import commit
from pipelines.output.journal import JOURNAL, Journal
from pipelines.output.lock import hold_output
from pipelines.output.manifest import read_accounts, read_status
from pipelines.output.run import PREDICTIONS, Run, Wave
from pipelines.output.tables import OutputError, read_table
from tests.pipelines.output.rows import BOTH, FIRST, SECOND, Rows, commit_rows, once, seen, stage, written


def test_nothing_is_seen_before_the_commit_and_all_of_it_after(first: Run) -> None:
    staged = stage(first, FIRST)
    assert seen(first.output) == {}

    committed = commit(first, Wave(inputs=len(FIRST)), written(staged))

    assert seen(first.output) == once(FIRST)
    assert (committed.predictions, committed.failures) == (3, 3)
    assert committed.balanced


def test_newer_rows_take_the_place_of_older_ones(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    accounts = commit_rows(second, SECOND)

    assert seen(second.output) == once(BOTH)
    assert (accounts.predictions, accounts.failures) == (3, 3)
    for file in Path(second.output).glob("*/*.parquet"):
        assert b"scenetags" in pq.read_schema(file).metadata, f"{file.name} lost its footer"


def test_an_older_row_stays_where_no_newer_one_came(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)

    commit(second, Wave(), written(stage(second, {"changed.jpg": (PREDICTIONS, "new")})))

    assert seen(second.output) == once({**FIRST, "changed.jpg": (PREDICTIONS, "new")})


def test_a_commit_that_a_runner_tries_again_changes_nothing(first: Run) -> None:
    committed = commit_rows(first, FIRST)

    # The second attempt has staged the same rows under other names, as it would.
    assert commit_rows(first, FIRST) == committed
    assert seen(first.output) == once(FIRST)


def test_an_attempt_that_comes_after_a_later_wave_changes_nothing(first: Run) -> None:
    """A runner may have given up the worker of a wave that does its work all the same, even again."""
    earlier = commit_rows(first, FIRST, last=False)
    more = {"came.jpg": (PREDICTIONS, "new")}
    accounts = commit(first, Wave(earlier, inputs=1), written(stage(first, more)))

    with pytest.raises(OutputError, match="holds a later wave of run "):
        commit_rows(first, FIRST, last=False)
    assert read_accounts(first.manifest) == accounts
    assert seen(first.output) == once({**FIRST, **more})


@pytest.mark.parametrize(("most", "status", "left"), [(0.4, "kept_old", FIRST), (0.5, "done", SECOND)])
def test_an_overwrite_keeps_old_rows_where_too_many_new_ones_failed(
    first: Run, second: Run, most: float, status: str, left: Rows
) -> None:
    commit_rows(first, FIRST)
    second = replace(second, overwrite=True, max_failure_rate=most)

    with hold_output(second):
        close_wave(second, Wave(inputs=len(SECOND)), written(stage(second, SECOND)))

    assert read_status(second.manifest) == status
    assert seen(second.output) == once(left)


def test_a_job_whose_output_was_taken_over_commits_nothing(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    staged = stage(second, SECOND)

    with hold_output(first), pytest.raises(OutputError, match="was taken over by run "):
        close_wave(second, Wave(inputs=len(SECOND)), written(staged))

    assert seen(second.output) == once(FIRST)


def test_a_second_job_of_one_template_is_refused_before_it_works(first: Run) -> None:
    detached = replace(first, detached=True)
    check_not_ended(detached)
    commit_rows(detached, FIRST)

    with pytest.raises(OutputError, match="has already ended, and a template starts one job"):
        check_not_ended(detached)
    # A launcher that waits may see its steps tried again after the end.
    check_not_ended(first)


def test_two_attempts_at_once_end_as_one(first: Run, second: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that takes a worker for dead starts another, and neither knows of the other."""
    commit_rows(first, FIRST)
    staged = stage(second, SECOND)
    wave = Wave(inputs=len(SECOND))
    carry_out = pipelines.output.commit.carry_out

    def overtaken(output: str, journal: Journal) -> None:
        # The other one does all of it between the decision of this one and its first move.
        monkeypatch.setattr("pipelines.output.commit.carry_out", carry_out)
        commit(second, wave, written(staged))
        carry_out(output, journal)

    monkeypatch.setattr("pipelines.output.commit.carry_out", overtaken)
    accounts = commit(second, wave, written(staged))

    assert (accounts.predictions, accounts.failures) == (3, 3)
    assert seen(second.output) == once(BOTH)


def test_a_commit_whose_files_are_cleared_away_keeps_the_older_rows(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was cancelled may still be at its commit while the command that launched it clears up."""
    commit_rows(first, FIRST)
    staged = stage(second, SECOND)
    write = storage.write

    def clear_up(path: str, data: bytes) -> None:
        if path.endswith(JOURNAL):
            storage.delete_folder(second.staging)
        write(path, data)

    monkeypatch.setattr(storage, "write", clear_up)
    with pytest.raises(FileNotFoundError, match="staged rows were deleted by another run"):
        commit(second, Wave(inputs=len(SECOND)), written(staged))

    assert seen(second.output) == once(FIRST)


def test_only_files_with_rows_that_replace_older_ones_are_read(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_rows(first, FIRST)
    staged = stage(second, SECOND)
    replaced = {path for path in SECOND if not path.startswith("came")}
    assert {row.path for file in staged for row in file.superseded} == replaced
    assert [len(file.superseded) for file in staged] == [0, 2, 0, 2]
    assert all(file.size == os.path.getsize(file.staged) for file in staged)
    read: list[str] = []

    def note(path: str) -> pa.Table:
        read.append(path)
        return read_table(path)

    monkeypatch.setattr("pipelines.output.placing.read_table", note)

    commit(second, Wave(inputs=len(SECOND)), written(staged))

    assert {path for path in read if path.startswith(second.staging)} == {f.staged for f in staged if f.superseded}
    assert seen(second.output) == once(BOTH)
