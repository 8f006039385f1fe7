"""A commit is seen whole or not at all, wherever it is cut off."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.output.closing import close_wave
from pipelines.output.commit import recover
from pipelines.output.journal import JOURNAL
from pipelines.output.lock import LOCK
from pipelines.output.manifest import read_status
from pipelines.output.replacing import replace_rows
from pipelines.output.run import Accounts, Run, Wave
from tests.pipelines.output.power_cuts import PowerCut, each_cut
from tests.pipelines.output.rows import BOTH, FIRST, SECOND, commit_rows, once, seen, stage, written


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
        patch.setattr("pipelines.output.commit.carry_out", cut)
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
    storage.write(hold, f"run {second.name}, a detached job".encode())

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
