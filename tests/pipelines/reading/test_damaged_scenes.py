"""Scenes whose directories lie: their windows are failures with a reason, and no other bytes are shown for pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.images.rendering import NO_RENDERING
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, Image, ImageRef
from pipelines.scenes.grid import Grid
from tests import image_files as files
from tests.image_files import picture
from tests.pipelines.images import tiff_files
from tests.pipelines.images.tiff_files import PLANES, STRIP_OFFSETS, STRIP_ROWS, STRIP_SIZES

TILE = Grid(32, 32, 0)
MOST = 64_000_000
PICTURE = picture(128, 64)
DEFLATE = 8


def read(path: Path) -> list[Image | Failure | Empty]:
    """Read the windows of a scene at their own size; what cannot be cut comes first."""
    listed = list(cut_scenes([refer(str(path))], CutSettings(TILE, NO_RENDERING, MOST)))
    source = ImageSource(DecodeSettings(32, "bilinear", MOST), Limits(), 2, grid=TILE)
    with closing(LookAhead(source, 4)) as ahead:
        windows = list(ahead.read(item for item in listed if isinstance(item, ImageRef)))
    return [*(item for item in listed if isinstance(item, Failure)), *windows]


def in_strips(rows: int, tags: Mapping[int, tuple[str, Sequence[int]]]) -> bytes:
    """Write the picture in strips of some rows, with some tags other than they should be."""
    strips = [PICTURE[top : top + rows].tobytes() for top in range(0, len(PICTURE), rows)]
    return tiff_files.of_strips(strips, PICTURE.shape, files.RGB, {STRIP_ROWS: ("I", [rows]), **tags})


def reasons(path: Path) -> set[str]:
    read_ = read(path)
    assert all(isinstance(item, Failure) for item in read_), read_
    return {item.message for item in read_ if isinstance(item, Failure)}


@pytest.mark.parametrize("rows", [8, 128])
def test_a_strip_with_fewer_bytes_than_pixels_is_not_read_on(rows: int, tmp_path: Path) -> None:
    """What follows it in the file would be shown."""
    sizes = [rows * 64 * 3] * (128 // rows)
    sizes[0] -= 1
    path = tmp_path / "scene.tif"
    path.write_bytes(in_strips(rows, {STRIP_SIZES: ("I", sizes)}))
    [reason] = reasons(path)
    assert reason.startswith(f"truncated TIFF: strip 1 of {128 // rows} has {sizes[0]:,} of {sizes[0] + 1:,} bytes")


@pytest.mark.parametrize("sizes", [[0], [1 << 20]])
def test_uncompressed_strips_may_say_no_size_or_too_large_ones(sizes: list[int], tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(in_strips(128, {STRIP_SIZES: ("I", sizes)}))
    windows = read(path)
    assert len(windows) == 8
    for window in windows:
        assert isinstance(window, Image)
        assert window.ref.window
        _, column, row, *_ = window.ref.window
        assert np.array_equal(window.pixels, PICTURE[row : row + 32, column : column + 32])


def test_compressed_strips_without_sizes_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(files.tiff(PICTURE, files.RGB, deflate=True, without=[STRIP_SIZES]))
    assert reasons(path) == {"damaged TIFF: the sizes of its strips are missing"}


@pytest.mark.parametrize("start", [1 << 30, 1 << 62, (1 << 64) - 4])
def test_a_strip_behind_the_end_of_the_file_is_missing(start: int, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(files.tiff(PICTURE, files.RGB, big=True, deflate=True, tags={STRIP_OFFSETS: ("Q", [start])}))
    [reason] = reasons(path)
    assert reason.startswith(f"truncated TIFF: the strip at byte {start:,} has 0 of ")


def test_a_tag_that_no_decoder_takes_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(files.tiff(PICTURE, files.RGB, big=True, tags={PLANES: ("Q", [1 << 40])}))
    assert reasons(path) == {"damaged TIFF: a tag with an impossible value"}
