"""Where windows lie, and what they are called."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.scenes.division import divide_scene
from pipelines.scenes.grid import DROP, EDGES, PAD, SHIFT, Grid, read_grid, split_window, window_path

grids = st.builds(Grid, st.integers(16, 400), st.integers(16, 400), st.just(0.5), st.sampled_from(EDGES))


@pytest.mark.parametrize(
    ("edge", "starts"), [(SHIFT, [0, 256, 512, 744]), (PAD, [0, 256, 512, 768]), (DROP, [0, 256, 512])]
)
def test_windows_at_an_edge_are_shifted_padded_or_dropped(edge: str, starts: list[int]) -> None:
    assert Grid(256, 256, 0.5, edge).starts(1000) == starts


@pytest.mark.parametrize("edge", EDGES)
def test_a_side_that_windows_fill_has_no_edge(edge: str) -> None:
    assert Grid(256, 256, 0.5, edge).starts(1024) == [0, 256, 512, 768]
    assert Grid(256, 128, 0.5, edge).starts(512) == [0, 128, 256]


@pytest.mark.parametrize("edge", EDGES)
def test_a_side_shorter_than_a_window_has_one(edge: str) -> None:
    grid = Grid(256, 256, 0.5, edge)
    assert grid.starts(100) == [0]
    assert grid.extent(0, 100) == (256 if edge == PAD else 100)


@given(grids, st.integers(1, 3000))
def test_windows_cover_every_pixel_unless_they_leave_gaps_or_are_dropped(grid: Grid, length: int) -> None:
    starts = grid.starts(length)
    assert starts == sorted(set(starts))
    seen = {pixel for start in starts for pixel in range(start, min(length, start + grid.extent(start, length)))}
    if grid.stride <= grid.tile and grid.edge != DROP:
        assert seen == set(range(length))
    assert all(0 <= start < length for start in starts)


@given(
    grids,
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.one_of(st.none(), st.sampled_from([16, 128, 256, 512])),
    st.integers(1, 300),
)
def test_each_window_begins_in_one_part_and_no_part_is_missing(
    grid: Grid, width: int, height: int, tile: int | None, rows: int
) -> None:
    block = (tile, tile) if tile else (width, min(rows, height))
    division = divide_scene(width, height, block, grid)
    windows = list(division.windows())
    assert sorted({(box.top, box.left) for _, box in windows}) == [
        (row, column) for row in grid.starts(height) for column in grid.starts(width)
    ]
    assert len(windows) == len(grid.starts(height)) * len(grid.starts(width))
    assert [number for number, _ in windows] == sorted(number for number, _ in windows)
    for number, box in windows:
        parts = [division.part(part) for part in division.parts_of(box)]
        assert division.part(number) in parts
        inside = (min(box.right, width) - box.left) * (min(box.bottom, height) - box.top)
        shared = [
            max(0, min(box.right, part.right) - max(box.left, part.left))
            * max(0, min(box.bottom, part.bottom) - max(box.top, part.top))
            for part in parts
        ]
        assert sum(shared) == inside, "parts overlap, or do not cover the window"
        assert all(shared), "a part is read for nothing"


def test_parts_of_very_wide_scenes_are_not_as_wide() -> None:
    division = divide_scene(1_000_000, 1_000_000, (256, 256), Grid(256, 256))
    assert division.part_width * division.part_height <= 1 << 24
    assert division.part_width % 256 == division.part_height % 256 == 0


@pytest.mark.parametrize("scene", ["/a/b.tif", "gs://x/#xywh=1,2,3,4", "a\nb#.tif"])
def test_a_window_is_named_after_its_scene(scene: str) -> None:
    path = window_path(scene, 512, 0, 256, 200)
    assert path == f"{scene}#xywh=512,0,256,200"
    assert split_window(path) == (scene, (512, 0, 256, 200))


@pytest.mark.parametrize("path", ["/a/b.tif", "b.tif#xywh=1,2,3", "b.tif#xywh=-1,2,3,4", "b.tif#xywh=1,2,3,4.png"])
def test_other_paths_are_no_windows(path: str) -> None:
    assert split_window(path) is None


def test_a_grid_is_read_from_json_again() -> None:
    grid = Grid(256, 128, 0.25, PAD)
    assert read_grid(grid.described()) == grid


@pytest.mark.parametrize(
    "described",
    [None, {}, {"tile": 256}, {"tile": 0, "stride": 0}, {"tile": "1", "stride": 1}, {"tile": 1, "stride": 1, "x": 1}]
    + [
        {**Grid(16, 16).described(), **wrong}
        for wrong in (
            {"edge": "x"},
            {"min_valid": 2},
            {"min_valid": True},
            {"clear": 2},
            {"nodata": "0"},
            {"nodata": math.nan},
        )
    ],
)
def test_a_malformed_grid_is_refused(described: object) -> None:
    with pytest.raises(ValueError, match="grid"):
        read_grid(described)


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (-9999.0, "-9999"), (0.1, "0.1"), (-3.4e38, "-3.4e+38")])
def test_a_grid_with_a_value_for_no_data_is_another_one(value: float, shown: str) -> None:
    grid = Grid(64, 64, nodata=value)
    assert read_grid(json.loads(json.dumps(grid.described()))) == grid
    assert str(grid) == f"{Grid(64, 64)} --nodata={shown}"
    assert "nodata" not in Grid(64, 64).described()


def test_a_grid_of_clear_windows_is_another_one() -> None:
    grid = Grid(64, 64, clear=0.25)
    assert read_grid(grid.described()) == grid
    assert str(grid).endswith(" --mask=udm2:clear>=0.25")
    assert "clear" not in Grid(64, 64).described()
