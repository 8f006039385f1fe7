"""Cells of a raster are merged of the windows around them, and overviews like cells."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.results.maps import MERGES
from pipelines.results.maps.cog import write_cog
from pipelines.results.maps.rasters import Raster, fill_cells
from pipelines.scenes.geokeys import projected_keys
from pipelines.scenes.georeference import GeoTags
from pipelines.scenes.grid import Grid


def boxes_of(grid: Grid, width: int, height: int) -> NDArray[np.int64]:
    starts = itertools.product(grid.starts(height), grid.starts(width))
    return np.array([(column, row, grid.extent(column, width), grid.extent(row, height)) for row, column in starts])


@given(
    st.builds(Grid, st.integers(2, 9), st.integers(1, 12), edge=st.sampled_from(["shift", "pad", "drop"])),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from(MERGES),
    st.randoms(use_true_random=False),
)
def test_a_cell_is_merged_of_the_windows_around_its_centre(
    grid: Grid, width: int, height: int, merge: str, random: Any
) -> None:
    boxes = boxes_of(grid, width, height)
    width, height = (
        max(length, end) for length, end in zip((width, height), (boxes[:, :2] + boxes[:, 2:]).max(axis=0), strict=True)
    )
    boxes = boxes[[random.random() < 0.9 for _ in boxes]]
    probabilities = np.array([[random.random()] for _ in boxes], np.float32).reshape(-1, 1)
    side = min(grid.tile, grid.stride)

    cells = fill_cells(boxes, probabilities, side, (width, height), merge)

    assert cells.shape == (-(-height // side), -(-width // side), 1)
    seen: set[int] = set()
    for row, column in np.ndindex(*cells.shape[:2]):
        x, y = (
            (first + min(first + side, length)) / 2 for first, length in ((column * side, width), (row * side, height))
        )
        corners, ends = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        around = np.flatnonzero((corners <= (x, y)).all(axis=1) & ((x, y) < ends).all(axis=1))
        seen.update(around.tolist())
        if not len(around):
            assert np.isnan(cells[row, column, 0])
        else:
            found = probabilities[around].astype(float)
            assert cells[row, column, 0] == pytest.approx(found.mean() if merge == "mean" else found.max())
    assert len(seen) == len(boxes)


@pytest.mark.parametrize("merge", MERGES)
def test_overviews_are_merged_like_windows_and_lie_before_what_they_show(merge: str) -> None:
    cells = np.random.default_rng(0).random((20, 1030, 2), np.float32).round(1)
    cells[:2, :2] = np.nan
    cells[2, :2] = np.nan
    place = GeoTags((10.0, 0.0, 5e5, 0.0, -10.0, 5e6), projected_keys(32633))

    data = write_cog(Raster("/a & b.tif", place, cells), ["a & b", "<c>"], "digest", merge)

    expected = cells.transpose(2, 0, 1)
    with rasterio.MemoryFile(data) as memory:
        with memory.open() as file:
            assert file.overviews(1) == [2, 4]
            assert file.descriptions == ("a & b", "<c>")
            assert file.tags() | {"scene": "/a & b.tif", "model": "digest", "merge": merge} == file.tags()
            np.testing.assert_array_equal(file.read(), expected)
        for level in (0, 1):
            even = np.pad(
                expected, [(0, 0), *((0, length % 2) for length in expected.shape[1:])], constant_values=np.nan
            )
            fours = np.stack([even[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
            empty = np.isnan(fours).all(axis=0)
            fours[:, empty] = 0
            expected = (np.nanmean if merge == "mean" else np.nanmax)(fours, axis=0)
            expected[empty] = np.nan
            with memory.open(overview_level=level) as file:
                np.testing.assert_allclose(file.read(), expected, rtol=1e-6)
