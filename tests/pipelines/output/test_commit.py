"""A commit is seen whole or not at all, wherever it is cut off; and a row takes the place of its older one."""

from __future__ import annotations

import builtins
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import pipelines.output.commit
from pipelines import storage
from pipelines.inference.bundle import load_bundle
from pipelines.output.closing import check_not_ended, close_wave
from pipelines.output.commit import JOURNAL, StagedFile, Superseded, Written, commit, recover, replace_rows
from pipelines.output.earlier import EarlierRows
from pipelines.output.lock import LOCK, hold_output
from pipelines.output.manifest import read_status
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.tables import OutputError
from pipelines.output.writing import FailureTable, PredictionTable, TableWriter
from pipelines.records import Failure, ImageRef, Prediction

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


class PowerCut(BaseException):
    """The end of everything, which nobody handles."""


@pytest.fixture
def first(tmp_path: Path, bundle_path: str) -> Run:
    bundle = load_bundle(bundle_path)
    return Run("20260101T000000Z-0001", str(tmp_path / "out"), bundle, bundle.thresholds)


@pytest.fixture
def second(first: Run) -> Run:
    return replace(first, name="20260101T000000Z-0002")


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
    earlier = EarlierRows(run.folder, run.name)
    found = ((path, earlier.find(path, fingerprint)) for path, (_, fingerprint) in rows.items())
    return [Superseded(path, row.file) for path, row in found if row]


def seen(output: str) -> dict[str, list[tuple[str, str]]]:
    """Read what a plain look at the tables finds of each path; every file must open."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table in (PREDICTIONS, FAILURES):
        for file in sorted(Path(output, table).glob("*.parquet")):
            for row in pq.read_table(file, partitioning=None).to_pylist():
                found.setdefault(row["path"], []).append((table, row["fingerprint"]))
    return found


def once(rows: Rows) -> dict[str, list[tuple[str, str]]]:
    return {path: [row] for path, row in rows.items()}


@contextmanager
def cut_off(monkeypatch: pytest.MonkeyPatch, before: int) -> Iterator[Callable[[], bool]]:
    """Let some changes to the disk pass, and none after them; tell whether it came to that."""
    changes = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **settings: Any) -> Any:
            nonlocal changes
            changes += 1
            if changes > before:
                raise PowerCut
            return change(*arguments, **settings)

        return counted

    def opened(path: Any, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        change = counted(builtins.open) if "w" in mode else builtins.open
        return change(path, mode, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(storage.local, "open", opened, raising=False)
        for name in ("replace", "remove", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield lambda: changes > before


def each_cut(
    monkeypatch: pytest.MonkeyPatch, output: str, work: Callable[[], object], check: Callable[[str], None]
) -> int:
    """Do some work again and again from the same state of the output, cut off one change later each time.

    Each time the check is made right after the cut, and is told at which change it came.
    """
    before = f"{output}.before"
    shutil.copytree(output, before)
    for cut in range(1000):
        shutil.rmtree(output)
        shutil.copytree(before, output)
        try:
            with cut_off(monkeypatch, cut) as was_cut:
                work()
        except PowerCut:
            pass
        check(f"cut off after {cut} changes")
        if not was_cut():
            return cut
    raise AssertionError("the work has no end")


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
    everything = superseded(second, FIRST)

    commit(second, Wave(), written(stage(second, {"changed.jpg": (PREDICTIONS, "new")}), everything))

    assert seen(second.output) == once({**FIRST, "changed.jpg": (PREDICTIONS, "new")})


def test_a_commit_that_a_runner_tries_again_changes_nothing(first: Run) -> None:
    committed = commit_rows(first, FIRST)

    # The second attempt has staged the same rows under other names, as it would.
    assert commit_rows(first, FIRST) == committed
    assert seen(first.output) == once(FIRST)


def test_a_commit_cut_off_anywhere_is_whole_or_nothing_after_the_repair(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_rows(first, FIRST)
    outcomes: Counter[str] = Counter()

    def check(cut: str) -> None:
        for path, places in seen(second.output).items():
            tables = [table for table, _ in places]
            assert len(tables) == len(set(tables)), f"{cut}, {path} is twice in one table"
        lost = set(FIRST) - set(seen(second.output))
        assert not lost, f"{cut}, rows are lost: {lost}"
        recover(second.output)
        found = seen(second.output)
        assert found in (once(FIRST), once(BOTH)), f"{cut}, the commit is there in part: {found}"
        assert storage.list_folders(second.output, "_") == [], f"{cut}, something is left"
        outcomes["nothing" if found == once(FIRST) else "whole"] += 1
        if found == once(FIRST):
            commit_rows(second, SECOND)
        assert seen(second.output) == once(BOTH), f"{cut}, the same work again did not end right"

    cuts = each_cut(monkeypatch, second.output, lambda: commit_rows(second, SECOND), check)

    assert outcomes["nothing"] > 5, outcomes
    assert outcomes["whole"] > 5, outcomes
    assert cuts == sum(outcomes.values()) - 1


def test_the_manifest_comes_after_all_rows(first: Run, second: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_rows(first, FIRST)
    outcomes: Counter[bool] = Counter()

    def check(cut: str) -> None:
        written = Path(second.manifest).exists()
        outcomes[written] += 1
        found = seen(second.output)
        assert not written or all(row in found.get(path, []) for path, row in BOTH.items()), cut

    each_cut(monkeypatch, second.output, lambda: commit_rows(second, SECOND), check)

    assert outcomes.keys() == {True, False}


def test_what_gets_its_place_is_on_the_disk_before(first: Run, second: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of power may take whatever was not synced; the order of the calls is all that can be shown here."""
    commit_rows(first, FIRST)
    synced: set[str] = set()
    sync, replaced = storage.local.sync, os.replace

    def noted(path: str) -> None:
        synced.add(path)
        sync(path)

    def place(source: str, target: str) -> None:
        assert source in synced, f"{source} is moved before it is on the disk"
        if target.endswith(JOURNAL):
            spoken_of = {f"{second.output}/{move[0]}" for move in json.loads(Path(source).read_bytes())["moves"]}
            assert spoken_of <= synced, f"the journal speaks of what may be lost: {spoken_of - synced}"
            journals.append(target)
        elif not target.startswith(second.staging):
            assert os.path.dirname(journals[-1]) in synced, "a file is moved before the decision to do so is safe"
        replaced(source, target)

    journals: list[str] = []
    monkeypatch.setattr(storage.local, "sync", noted)
    monkeypatch.setattr(os, "replace", place)
    commit_rows(second, SECOND)

    assert len(journals) == 1
    assert {f"{second.output}/{name}" for name in ("predictions", "failures", "runs")} <= synced


def test_a_repair_cut_off_anywhere_is_repaired_by_the_next_one(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_rows(first, FIRST)

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.output.commit._carry_out", cut)
        with pytest.raises(PowerCut):
            commit_rows(second, SECOND)
    assert seen(second.output) == once(FIRST)

    def check(cut: str) -> None:
        recover(second.output)
        assert seen(second.output) == once(BOTH), cut
        assert storage.list_folders(second.output, "_") == [], f"{cut}, something is left"

    assert each_cut(monkeypatch, second.output, lambda: recover(second.output), check) > 5


def test_an_overwrite_cut_off_anywhere_leaves_old_rows_or_new_ones(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = replace(second, overwrite=True)
    commit_rows(first, FIRST)
    gathered = commit_rows(second, SECOND)
    assert seen(second.output) == once(FIRST), "new rows are seen before they are complete"

    def check(cut: str) -> None:
        found = seen(second.output)
        whole = [all(row in found.get(path, []) for path, row in rows.items()) for rows in (FIRST, SECOND)]
        assert any(whole), f"{cut}, rows are lost: {found}"
        recover(second.output)
        found = seen(second.output)
        assert found in (once(FIRST), once(SECOND)), f"{cut}, old and new rows are mixed: {found}"
        if found == once(FIRST):
            replace_rows(second, gathered)
            assert seen(second.output) == once(SECOND), f"{cut}, the same work again did not end right"

    assert each_cut(monkeypatch, second.output, lambda: replace_rows(second, gathered), check) > 8


def test_the_end_of_a_detached_overwrite_can_be_tried_again_wherever_it_was_cut_off(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = replace(second, overwrite=True, detached=True)
    commit_rows(first, FIRST)
    hold = storage.join(second.output, LOCK)
    storage.write(hold, f"run {second.name}, a job of its own".encode())

    def close() -> Accounts:
        return close_wave(second, Wave(inputs=len(SECOND)), written(stage(second, SECOND)))

    def check(cut: str) -> None:
        accounts = close()
        assert (accounts.predictions, accounts.failures) == (3, 3), cut
        assert seen(second.output) == once(SECOND), f"{cut}, the second attempt did not end right"
        assert read_status(second.manifest) == "done", cut
        assert not storage.exists(hold), f"{cut}, the output is not given back"
        assert close() == accounts, f"{cut}, a third attempt ends otherwise"
        assert seen(second.output) == once(SECOND), f"{cut}, a third attempt changes rows"

    assert each_cut(monkeypatch, second.output, close, check) > 20


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

    with hold_output(first), pytest.raises(OutputError, match="was taken over by another run"):
        close_wave(second, Wave(inputs=len(SECOND)), written(staged))

    assert seen(second.output) == once(FIRST)


def test_a_second_job_of_one_template_is_refused_before_it_works(first: Run) -> None:
    detached = replace(first, detached=True)
    check_not_ended(detached)
    commit_rows(detached, FIRST)

    with pytest.raises(OutputError, match="has ended: a template starts one job"):
        check_not_ended(detached)
    # A launcher that waits may see its steps tried again after the end.
    check_not_ended(first)


def test_two_attempts_at_once_end_as_one(first: Run, second: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that takes a worker for dead starts another, and neither knows of the other."""
    commit_rows(first, FIRST)
    older = superseded(second, SECOND)
    staged = stage(second, SECOND)
    wave = Wave(inputs=len(SECOND))
    carry_out = pipelines.output.commit._carry_out

    def overtaken(output: str, journal: pipelines.output.commit.Journal) -> None:
        # The other one does all of it between the decision of this one and its first move.
        monkeypatch.setattr("pipelines.output.commit._carry_out", carry_out)
        commit(second, wave, written(staged, older))
        carry_out(output, journal)

    monkeypatch.setattr("pipelines.output.commit._carry_out", overtaken)
    accounts = commit(second, wave, written(staged, older))

    assert (accounts.predictions, accounts.failures) == (3, 3)
    assert seen(second.output) == once(BOTH)


def test_a_commit_whose_files_are_cleared_away_keeps_the_older_rows(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was cancelled may still be at its commit while the command that launched it clears up."""
    commit_rows(first, FIRST)
    older, staged = superseded(second, SECOND), stage(second, SECOND)
    write = storage.write

    def clear_up(path: str, data: bytes) -> None:
        if path.endswith(JOURNAL):
            storage.delete_folder(second.staging)
        write(path, data)

    monkeypatch.setattr(storage, "write", clear_up)
    with pytest.raises(FileNotFoundError, match="staged rows have been cleared away"):
        commit(second, Wave(inputs=len(SECOND)), written(staged, older))

    assert seen(second.output) == once(FIRST)
