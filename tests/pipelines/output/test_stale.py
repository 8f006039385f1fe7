"""Rows of windows that a scene no longer has, and of faults that an archive no longer has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.output.commit import commit
from pipelines.output.earlier import EarlierRows
from pipelines.output.identities import earlier_files
from pipelines.output.partitions import partition_of, read_parts
from pipelines.output.run import EMPTY, FAILURES, PREDICTIONS, Accounts, Run, Wave
from pipelines.output.stale import find_stale
from pipelines.output.tables import NO_ROWS
from pipelines.output.written import Written
from pipelines.records import Failure, ImageRef, Listed, Window
from pipelines.scenes.grid import Grid, window_path
from tests.pipelines.output.rows import Rows, commit_rows, seen, stage

GRID = Grid(64, 64)
SCENE = "/a/scene.tif"
OTHER = "/a/other.tif"


def window(scene: str, column: int, row: int, fingerprint: str, columns: int = 128, rows: int = 128) -> ImageRef:
    place = Window(scene, column, row, 64, 64, 0, columns, rows, 1000)
    return ImageRef(window_path(scene, column, row, 64, 64), 1, fingerprint, window=place)


OLD: Rows = {
    **{window(SCENE, column, row, "").path: (PREDICTIONS, "old") for column in (0, 64) for row in (0, 64)},
    window(SCENE, 128, 0, "").path: (FAILURES, "old"),
    **{window(OTHER, column, 0, "").path: (PREDICTIONS, "old") for column in (0, 64, 128)},
    "/a/chip.jpg": (PREDICTIONS, "old"),
}


@pytest.fixture
def later(run: Run) -> Run:
    """Commit the rows of an earlier run, and name a later one."""
    commit_rows(run, OLD)
    return replace(run, name="20991231T000000.000000Z-ffff")


def stale(run: Run, listed: Sequence[Listed]) -> list[str]:
    earlier, cut = EarlierRows.read(run.folder, run.name), replace(run, grid=GRID)
    return sorted(row.path.rpartition("/")[2] for item in listed for row in find_stale(earlier, cut, item))


def of_scene(*places: str) -> list[str]:
    return sorted(f"scene.tif#xywh={place},64,64" for place in places)


def test_a_scene_that_has_not_changed_has_no_stale_rows(later: Run) -> None:
    assert stale(later, [window(SCENE, 0, 0, "old"), window(OTHER, 0, 0, "old", columns=192)]) == []


def test_windows_beyond_the_new_edges_are_stale_and_those_that_come_again_are_not(later: Run) -> None:
    listed = [window(SCENE, 0, 0, "new", 64, 128), window(SCENE, 0, 64, "new", 64, 128)]
    assert stale(later, listed) == of_scene("64,0", "64,64", "128,0"), "once, with the first window"


@pytest.mark.parametrize(
    "listed",
    [ImageRef(SCENE, 1, "new"), Failure(SCENE, "decode", "DamagedImageError", "cut off", "new")],
    ids=["no scene any more", "cannot be cut"],
)
def test_all_windows_of_what_is_no_scene_any_more_are_stale(listed: Listed, later: Run) -> None:
    assert stale(later, [listed]) == of_scene("0,0", "0,64", "64,0", "64,64", "128,0")


def test_windows_of_an_earlier_wave_of_the_same_run_are_none(later: Run) -> None:
    """They are counted, so a scene that changes between two waves leaves them to the next run."""
    commit_rows(later, {window(SCENE, 64, 0, "").path: (PREDICTIONS, "older")})
    file = next(name for name in earlier_files(later.folder, None) if name.startswith(PREDICTIONS))
    for run, own in ((later, True), (replace(later, name="20991231T000000.000001Z-ffff"), False)):
        parts = read_parts(later.folder, file, run.name)
        earlier = EarlierRows.of_parts(later.folder, [part for of, part in parts if of == partition_of(SCENE)])
        gone = find_stale(earlier, replace(run, grid=GRID), window(SCENE, 0, 0, "new", 64, 128))
        found = {row.path.rpartition("/")[2] for row in gone}
        assert sorted(found) == of_scene("64,64", *["64,0"] * (not own))


@pytest.mark.parametrize("error", ["TransientError", "FileNotFoundError"])
def test_a_scene_that_cannot_be_reached_keeps_its_rows(error: str, later: Run) -> None:
    listed = [Failure(SCENE, "read", error, "no answer", "old"), Failure(SCENE, "list", error, "not there", "")]
    assert stale(later, listed) == []


def test_the_row_of_a_scene_as_a_whole_is_stale_once_it_is_cut(run: Run) -> None:
    commit_rows(run, {SCENE: (FAILURES, "old"), "/a/chip.jpg": (PREDICTIONS, "old")})
    later = replace(run, name="20991231T000000.000000Z-ffff")
    for fingerprint in ("old", "new"):
        assert stale(later, [window(SCENE, 0, 0, fingerprint)]) == ["scene.tif"]


def test_stale_rows_are_deleted_and_nothing_else_is(later: Run) -> None:
    earlier = EarlierRows.read(later.folder, later.name)
    listed = window(SCENE, 0, 0, "new", 64, 64)
    gone = list(find_stale(earlier, replace(later, grid=GRID), listed))
    newer: Rows = {listed.path: (PREDICTIONS, "new")}
    commit(later, Wave(inputs=1), Written(stage(later, newer), gone, Accounts()))
    kept = {path: row for path, row in OLD.items() if not path.startswith(SCENE)}
    assert seen(later.output) == {path: [row] for path, row in {**kept, **newer}.items()}
    assert [file.name for file in Path(later.output, FAILURES).iterdir()] == [NO_ROWS], "its only row is gone"
    assert not Path(later.output, EMPTY).exists()
