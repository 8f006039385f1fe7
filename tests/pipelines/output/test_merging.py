"""Staged files of a distributed run are merged by workers, before they are committed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.output import compaction, joining, merging
from pipelines.output.commit import commit
from pipelines.output.compatible import kind_of_run
from pipelines.output.lock import hold_output
from pipelines.output.manifest import read_accounts
from pipelines.output.merging import merge, plan_merges
from pipelines.output.recovery import recover_rows
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.staged import announce
from pipelines.output.tables import NO_ROWS, OutputError, open_table
from pipelines.output.written import StagedFile, Superseded
from tests.conftest import Bucket
from tests.pipelines.output.power_cuts import each_cut
from tests.pipelines.output.rows import FIRST, SECOND, commit_rows, once, seen, stage, written
from tests.pipelines.output.test_compaction import failed, files, predicted

STAGED_FILES = st.lists(
    st.builds(
        lambda table, rows, size, superseded: StagedFile("", table, Accounts(failures=rows), size, superseded),
        st.sampled_from((PREDICTIONS, FAILURES)),
        st.integers(1, merging.MOST_ROWS // 2),
        st.integers(1, joining.MOST_BYTES // 2),
        st.sampled_from(((), (Superseded("", ""),))),
    ),
    max_size=50,
)


def staged(run: Run, *names: str) -> list[StagedFile]:
    return [file for name in names for file in stage(run, {**predicted(name), **failed(f"not {name}")}, all_new=True)]


def merged(run: Run, files: Iterable[StagedFile], left_out: list[StagedFile] | None = None) -> list[StagedFile]:
    damaged: list[StagedFile] = []
    found = [file for group in plan_merges(files) for file in merge(run, group, damaged.append)]
    assert damaged == (left_out or []), "what is left out"
    return found


@given(staged=STAGED_FILES)
def test_groups_hold_every_file_once_and_no_more_than_a_file_may(staged: Sequence[StagedFile]) -> None:
    staged = [file._replace(staged=str(number)) for number, file in enumerate(staged)]
    groups = [group.files for group in plan_merges(staged)]

    assert sorted(file for group in groups for file in group) == sorted(staged)
    for group in groups:
        assert len({file.table for file in group}) == 1
        assert sum(file.size for file in group) <= joining.MOST_BYTES
        assert sum(file.accounts.failures for file in group) <= merging.MOST_ROWS
        assert len(group) == 1 or not any(file.superseded for file in group)
    unfilled = Counter(group[0].table for group in groups if 2 * sum(map(merging._weight, group)) < joining.MOST_BYTES)
    assert not unfilled or max(unfilled.values()) == 1, "a small file was left alone"


def test_merged_files_have_the_rows_and_the_accounts_of_the_staged_ones(first: Run) -> None:
    [predictions, failures] = sorted(merged(first, staged(first, *"abcdef")), key=lambda file: file.table, reverse=True)

    assert (predictions.accounts.predictions, failures.accounts.failures) == (6, 6)
    assert predictions.accounts.tags == dict.fromkeys(predictions.accounts.tags, 6)
    assert predictions.size == os.path.getsize(predictions.staged)
    accounts = commit(first, Wave(inputs=12), written([predictions, failures]))
    assert accounts.balanced
    assert seen(first.output) == once({**predicted(*"abcdef"), **failed(*(f"not {name}" for name in "abcdef"))})
    assert len(files(first)) == len(files(first, FAILURES)) == 1


def test_every_attempt_at_a_merge_writes_a_file_of_its_own(first: Run) -> None:
    alike = [*stage(first, predicted("a"), all_new=True), *stage(first, predicted("b"), all_new=True)]
    [one], [other] = merged(first, alike), merged(first, alike)

    assert one.staged != other.staged
    commit(first, Wave(inputs=2), written([other]))
    assert seen(first.output) == once(predicted("a", "b"))
    left = [path for path in Path(first.staging).rglob("*.parquet") if path.name != NO_ROWS]
    assert left == [Path(one.staged)], "what was merged would be taken for rows that are not committed"


def test_the_commit_moves_merged_files_as_they_are_and_joins_only_small_ones(
    first: Run, second: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(first, Wave(inputs=1), written(stage(first, predicted("in place"), all_new=True)))
    small = merged(second, staged(second, *"ab"))
    monkeypatch.setattr(compaction, "SMALL_BYTES", min(file.size for file in small) - 1)
    kept = {os.stat(file.staged).st_ino for file in small}

    commit(second, Wave(inputs=4), written(small))

    placed = [os.stat(path).st_ino for table in (PREDICTIONS, FAILURES) for path in files(second, table)]
    assert kept <= set(placed)
    monkeypatch.undo()
    commit(second, Wave(Accounts(inputs=4), 4), written(merged(second, staged(second, *"cd"))))
    assert len(files(second)) == 2


def test_rows_that_replace_others_are_not_merged(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    replacing = [file for file in stage(second, SECOND) if file.superseded]

    assert replacing
    assert sorted(merged(second, replacing)) == sorted(replacing)


def test_files_of_several_kinds_become_one_of_each(first: Run) -> None:
    other = replace(first, precision="bfloat16")
    alike = [stage(run, predicted(name), all_new=True)[0] for run, name in ((first, "a"), (other, "b"), (first, "c"))]

    made = merged(first, alike)

    assert made[0].merged == (alike[0].staged, alike[2].staged)
    assert made[1:] == [alike[1]]


def cut_off(data: bytes) -> bytes:
    return data[:-1]


def zeroed(data: bytes) -> bytes:
    return bytes(200) + data[200:]


@pytest.mark.parametrize("damage", [cut_off, zeroed])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_damaged_file_is_left_out_and_the_others_are_merged(
    first: Run, number: int, damage: Callable[[bytes], bytes]
) -> None:
    alike = [file for name in "abcd" for file in stage(first, predicted(name), all_new=True)]
    path = Path(alike[number].staged)
    path.write_bytes(damage(path.read_bytes()))

    [file] = merged(first, alike, left_out=[alike[number]])

    assert (file.accounts.predictions, len(file.merged)) == (3, 3)
    commit(first, Wave(inputs=3), written([file]))
    assert seen(first.output) == once(predicted(*(name for place, name in enumerate("abcd") if place != number)))


@pytest.mark.parametrize("replaces", [False, True])
def test_a_damaged_file_that_is_merged_with_no_other_is_left_out(first: Run, second: Run, replaces: bool) -> None:
    commit_rows(first, predicted("a"))
    [file] = stage(second, {"a": (PREDICTIONS, "2")}, all_new=not replaces)
    Path(file.staged).write_bytes(zeroed(Path(file.staged).read_bytes()))
    assert bool(file.superseded) == replaces
    assert merged(second, [file], left_out=[file]) == []


def test_a_file_that_was_only_badly_transferred_is_not_left_out(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = [file for name in "ab" for file in stage(first, predicted(name), all_new=True)]

    def garbled(*_: object) -> None:
        raise OutputError(f"{alike[0].staged} is damaged")

    monkeypatch.setattr(joining, "join", garbled)
    assert merged(first, alike) == alike


def test_what_cannot_be_merged_is_committed_as_it_is(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = [file for name in "abc" for file in stage(first, predicted(name), all_new=True)]

    def full(path: str) -> IO[bytes]:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "create", full)
        assert merged(first, alike) == alike
    commit(first, Wave(inputs=3), written(alike))
    assert seen(first.output) == once(predicted(*"abc"))


def test_files_in_a_bucket_are_merged(first: Run, bucket: Bucket) -> None:
    run = replace(first, output=f"{bucket.path}/out")
    alike = [file for name in "abcdefgh" for file in stage(run, predicted(name), all_new=True)]

    [file] = merged(run, alike)
    commit(run, Wave(inputs=8), written([file]))

    [placed] = files(run)
    assert placed.rpartition("/")[2] == file.staged.rpartition("/")[2]
    with open_table(placed) as parquet:
        assert sorted(parquet.read(["path"])["path"].to_pylist()) == [*"abcdefgh"]


@pytest.fixture
def dead(first: Run, second: Run) -> list[StagedFile]:
    """Stage rows, some of them in two attempts, and one that replaces an older row."""
    commit_rows(first, OLDER)
    announce(second)
    stage(second, predicted("a"), all_new=True)
    new = [file for name in "ab" for file in stage(second, predicted(name), all_new=True)]
    return [*new, *stage(second, NEWER)]


OLDER, NEWER = {"changed.jpg": (PREDICTIONS, "old")}, {"changed.jpg": (PREDICTIONS, "new")}
ALL = {**NEWER, **predicted("a", "b")}


def attempt(run: Run, staged: Sequence[StagedFile]) -> Accounts:
    """Merge and commit, as workers do."""
    return commit(run, Wave(inputs=len(ALL)), written(merged(run, staged)))


def test_a_job_that_dies_at_its_merge_or_commit_is_done_by_the_next_attempt_or_the_next_run(
    second: Run, dead: list[StagedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run does not recover merged files: those that they are made of are there until the commit is decided."""
    third = replace(second, name="20260101T000000Z-0003")

    def check(cut: str) -> None:
        found = seen(second.output)
        tables = [[table for table, _ in rows] for rows in found.values()]
        assert set(found) >= set(OLDER), f"{cut}, rows are lost"
        assert all(len(rows) == len(set(rows)) for rows in tables), f"{cut}, a row is twice in one table"
        if next(dies_as_a_whole):
            with hold_output(third):
                list(recover_rows(third, kind_of_run(third)))
            assert storage.list_folders(second.output, "_") == [], f"{cut}, something is left"
        else:
            attempt(second, dead)
        assert seen(second.output) == once(ALL), cut
        assert read_accounts(second.manifest).balanced, cut

    dies_as_a_whole = cycle((False, True))
    assert each_cut(monkeypatch, second.output, lambda: attempt(second, dead), check) > 20
