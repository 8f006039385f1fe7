"""Staged files of a distributed run are merged by workers, before they are committed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.output import joining, merging
from pipelines.output.commit import StagedFile, Superseded, commit
from pipelines.output.merging import Group, merge, plan_merges
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.tables import NO_ROWS
from tests.conftest import Bucket
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


def merged(run: Run, files: Iterable[StagedFile]) -> list[StagedFile]:
    return [file for group in plan_merges(files) for file in merge(run, group)]


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
    group = Group(tuple(stage(first, predicted("a"), all_new=True) + stage(first, predicted("b"), all_new=True)))
    [one], [other] = list(merge(first, group)), list(merge(first, group))

    assert one.staged != other.staged
    commit(first, Wave(inputs=2), written([other]))
    assert seen(first.output) == once(predicted("a", "b"))
    left = [path for path in Path(first.staging).rglob("*.parquet") if path.name != NO_ROWS]
    assert left == [Path(one.staged)], "what was merged would be taken for rows that are not committed"


def test_rows_that_replace_others_are_not_merged(first: Run, second: Run) -> None:
    commit_rows(first, FIRST)
    replacing = [file for file in stage(second, SECOND) if file.superseded]

    assert replacing
    assert sorted(merged(second, replacing)) == sorted(replacing)


def test_files_of_several_kinds_become_one_of_each(first: Run) -> None:
    other = replace(first, precision="bfloat16")
    alike = [stage(run, predicted(name), all_new=True)[0] for run, name in ((first, "a"), (other, "b"), (first, "c"))]

    made = list(merge(first, Group(tuple(alike))))

    assert made[0].merged == (alike[0].staged, alike[2].staged)
    assert made[1:] == [alike[1]]


@pytest.mark.parametrize("damage", ["cut off", "full disk"])
def test_what_cannot_be_merged_is_committed_as_it_is(first: Run, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = [file for name in "abc" for file in stage(first, predicted(name), all_new=True)]
    if damage == "cut off":
        path = Path(alike[0].staged)
        path.write_bytes(path.read_bytes()[:-1])
        assert list(merge(first, Group(tuple(alike)))) == alike
        return

    def full(path: str) -> IO[bytes]:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "create", full)
        assert list(merge(first, Group(tuple(alike)))) == alike
    commit(first, Wave(inputs=3), written(alike))
    assert seen(first.output) == once(predicted(*"abc"))


def test_files_in_a_bucket_are_merged(first: Run, bucket: Bucket) -> None:
    run = replace(first, output=f"{bucket.path}/out")
    alike = [file for name in "abcdefgh" for file in stage(run, predicted(name), all_new=True)]

    [file] = merged(run, alike)
    commit(run, Wave(inputs=8), written([file]))

    [placed] = files(run)
    assert placed.rpartition("/")[2] == file.staged.rpartition("/")[2]
    with joining.open_table(placed) as parquet:
        assert sorted(parquet.read(["path"])["path"].to_pylist()) == [*"abcdefgh"]
