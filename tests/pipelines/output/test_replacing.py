"""What replaces the old rows is what the overwrite has listed, whatever an earlier one has left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.output.closing import close_wave
from pipelines.output.commit import recover
from pipelines.output.earlier import read_earlier
from pipelines.output.lock import LOCK, hold_output
from pipelines.output.manifest import read_status
from pipelines.output.replacing import note_found, replace_rows
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.tables import OutputError
from pipelines.output.written import Written
from tests.conftest import Bucket
from tests.pipelines.output.power_cuts import each_cut
from tests.pipelines.output.rows import FIRST, Rows, commit_rows, once, seen, stage

LEFT: Rows = {
    **dict.fromkeys(("tagged.jpg", "gone.jpg", "changed since.jpg", "damaged since.jpg"), (PREDICTIONS, "new")),
    **dict.fromkeys(("failed.jpg", "mended since.jpg", "gone too.jpg"), (FAILURES, "new")),
}
"""What an overwrite that was stopped has left in its shadow folder."""

TAGGED: Rows = {"tagged.jpg": LEFT["tagged.jpg"]}
NEWER: Rows = {
    **dict.fromkeys(("changed since.jpg", "mended since.jpg", "came.jpg"), (PREDICTIONS, "newer")),
    **dict.fromkeys(("failed.jpg", "damaged since.jpg"), (FAILURES, "newer")),
}
LISTED: Rows = {**TAGGED, **NEWER}


@pytest.fixture
def left(first: Run) -> Run:
    return leave(first)


def leave(first: Run) -> Run:
    """Leave an output with old rows, and the rows of an overwrite that was stopped."""
    commit_rows(first, FIRST)
    left = replace(first, name="20260101T000000Z-0002", overwrite=True)
    commit_rows(left, LEFT, last=False)
    return replace(left, name="20260101T000000Z-0003")


def tag(run: Run, skipped: Rows, tagged: Rows, wave: Wave | None = None) -> Accounts:
    """Close a wave as the steps do that come before."""
    listed = {**skipped, **tagged}
    found = [storage.digest_path(path) for path in listed if path in LEFT]
    wave = wave or Wave(inputs=len(listed))
    return close_wave(run, wave, Written(stage(run, tagged), (), Accounts(skipped=len(skipped)), found))


def test_an_overwrite_over_other_images_leaves_no_row_of_the_earlier_one(left: Run) -> None:
    with hold_output(left):
        accounts = tag(left, TAGGED, NEWER)

    assert accounts.balanced
    assert seen(left.output) == once(LISTED)
    assert storage.list_folders(left.output, "_") == []
    assert read_status(left.manifest) == "done"


def test_rows_in_a_bucket_are_dropped_likewise(bucket: Bucket, first: Run) -> None:
    left = leave(replace(first, output=f"{bucket.path}/out"))
    with hold_output(left):
        accounts = tag(left, TAGGED, {}, Wave(inputs=1, last=False))
        tag(left, {}, NEWER, Wave(accounts, len(NEWER)))

    assert seen(left.output) == once(LISTED)
    assert storage.list_folders(left.output, "_") == []


def test_an_overwrite_without_any_image_of_the_earlier_one_takes_none_of_its_rows(left: Run) -> None:
    with hold_output(left):
        tag(left, {}, {"came.jpg": NEWER["came.jpg"]})

    assert seen(left.output) == once({"came.jpg": NEWER["came.jpg"]})


@pytest.mark.parametrize("closed_by", ["one process", "a process of its own each"])
def test_what_any_wave_has_listed_stays(left: Run, closed_by: str) -> None:
    with hold_output(left):
        accounts = Accounts()
        waves: list[tuple[Rows, Rows]] = [(TAGGED, {}), ({}, {"came.jpg": NEWER["came.jpg"]}), ({}, {})]
        waves[2] = {}, {path: row for path, row in NEWER.items() if path != "came.jpg"}
        for number, (skipped, tagged) in enumerate(waves):
            wave = Wave(accounts, len(skipped) + len(tagged), last=number == 2)
            accounts = tag(left, skipped, tagged, wave)
            if closed_by == "a process of its own each":
                read_earlier(left.output, "another run")

    assert seen(left.output) == once(LISTED)


def test_an_overwrite_that_drops_rows_can_be_cut_off_anywhere(left: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [storage.digest_path(path) for path in LISTED]
    wave = Wave(inputs=len(LISTED), last=False)
    storage.write(storage.join(left.output, LOCK), f"run {left.name}, a process".encode())
    accounts = tag(left, TAGGED, NEWER, wave)
    ended: set[str] = set()

    def check(cut: str) -> None:
        rows = seen(left.output)
        whole = [all(row in rows.get(path, []) for path, row in complete.items()) for complete in (FIRST, LISTED)]
        assert any(whole), f"{cut}, rows are lost: {rows}"
        recover(left.output)
        rows = seen(left.output)
        assert rows in (once(FIRST), once(LISTED)), f"{cut}, old and new rows are mixed: {rows}"
        if rows == once(LISTED):
            ended.add("new")
            assert not list(Path(left.folder).rglob("*.parquet")), f"{cut}, rows are left for the next overwrite"
            return
        ended.add("old")
        note_found(left, wave, found)
        replace_rows(left, accounts)
        assert seen(left.output) == once(LISTED), f"{cut}, the same work again did not end right"

    assert each_cut(monkeypatch, left.output, lambda: replace_rows(left, accounts), check) > 10
    assert ended == {"old", "new"}


def copy(file: Path) -> None:
    shutil.copy(file, file.with_name("copied.parquet"))


@pytest.mark.parametrize("change", [Path.unlink, copy])
def test_an_overwrite_whose_files_were_changed_replaces_nothing(left: Run, change: Callable[[Path], object]) -> None:
    with hold_output(left):
        accounts = tag(left, TAGGED, NEWER, Wave(inputs=len(LISTED), last=False))
        change(next(Path(left.folder, PREDICTIONS).glob(f"{left.name}*")))

        with pytest.raises(OutputError, match="rows for 7 inputs: its files were changed during the run"):
            tag(left, {}, {"last.jpg": (PREDICTIONS, "new")}, Wave(accounts, 1))

    assert seen(left.output) == once(FIRST)


def test_an_overwrite_does_not_resume_one_with_other_limits_or_another_engine(left: Run) -> None:
    assert replace(left, settings=("auto", 1, 2)).folder != replace(left, settings=("auto", 1, 3)).folder
    assert replace(left, settings=("auto", 1, 2)).folder != replace(left, settings=("litert", 1, 2)).folder
