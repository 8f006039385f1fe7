"""Workers of a dead run that are still at work while its rows are recovered."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.output import compaction
from pipelines.output.closing import close_wave
from pipelines.output.commit import commit
from pipelines.output.compatible import kind_of_run
from pipelines.output.lock import hold_output
from pipelines.output.manifest import read_accounts
from pipelines.output.recovery import recover_rows
from pipelines.output.run import Run, Wave
from pipelines.output.tables import OutputError
from tests.pipelines.output.dead_runs import die, predicted, recovered
from tests.pipelines.output.rows import once, seen, stage, written


def test_a_worker_that_is_late_commits_nothing_and_doubles_nothing(first: Run, second: Run, third: Run) -> None:
    """The job of a run whose launching process died may continue while another run recovers what it has staged."""
    staged = die(first, predicted("a", "b"))
    recovered(second)
    late = stage(first, predicted("a", "c"), all_new=True)

    with hold_output(second), pytest.raises(OutputError, match="was taken over by run"):
        close_wave(first, Wave(), written([*staged, *late]))
    assert recovered(third) == []
    assert seen(first.output) == once(predicted("a", "b"))
    assert not os.path.exists(first.staging)


def test_a_worker_that_is_at_its_commit_meanwhile_commits_nothing(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = [*die(first, predicted("a", "b")), *stage(first, predicted("c"))]
    compact = compaction.compact

    def overtaken(*arguments: object) -> object:
        moves = compact(*arguments)  # type: ignore[arg-type]
        Path(second.output, "_lock").unlink(missing_ok=True)
        recovered(second)
        # What it was about to upload gets there all the same.
        (Path(first.output) / moves[0].source).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"path": ["a"]}), Path(first.output) / moves[0].source)
        return moves

    monkeypatch.setattr("pipelines.output.commit.compact", overtaken)
    with pytest.raises(OutputError, match="was taken over by another run, which recovered"):
        commit(first, Wave(inputs=3), written(staged))
    assert seen(first.output) == once(predicted("a", "b", "c"))


def test_a_commit_that_was_decided_before_the_folder_was_claimed_is_completed_first(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = [*die(first, predicted("a", "b")), *stage(first, predicted("c"))]
    stage(first, predicted("b", "d"))
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.output.commit.carry_out", lambda *_: None)
        commit(first, Wave(inputs=3, last=False), written(staged))
    assert seen(first.output) == {}

    [found] = list(recover_rows(second, kind_of_run(second)))

    assert seen(first.output) == once(predicted("a", "b", "c", "d"))
    assert found.accounts.inputs == 1
    assert read_accounts(first.manifest).inputs == 4
