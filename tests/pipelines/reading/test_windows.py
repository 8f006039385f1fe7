"""Windows of scenes show what chips show that were cut beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.scenes.grid import Grid
from tests.pipelines.reading.windowed import SHOWN, TILE, check_like_chips, images, read
from tests.scene_files import samples, write_scene


@pytest.mark.parametrize("grid", [TILE, Grid(64, 40), Grid(100, 100)], ids=str)
@pytest.mark.parametrize(
    "layout",
    [
        {"tile": 64, "compress": "deflate", "predictor": 2},
        {"tile": 32, "compress": "zstd", "interleave": "band"},
        {"tile": 128, "BIGTIFF": "YES"},
        {"compress": "lzw"},
        {"blockysize": 7},
        {"blockysize": 170},
        {"ENDIANNESS": "BIG", "compress": "packbits"},
    ],
    ids=str,
)
def test_a_window_is_what_a_chip_is_that_was_cut_beforehand(layout: dict[str, Any], grid: Grid, tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(170, 210), **layout)
    check_like_chips(path, read(path, grid))


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
def test_samples_of_other_kinds_are_shown_like_chips(kind: str, bands: int, tmp_path: Path) -> None:
    color = {"photometric": "RGB"} if bands == 3 else {}
    path = write_scene(tmp_path / "scene.tif", samples(100, 130, bands, kind), tile=64, **color)
    rendering = SHOWN if bands == 3 else SHOWN._replace(bands=())
    check_like_chips(path, read(path, rendering=rendering), rendering)


def test_windows_of_a_scene_share_its_percentiles(tmp_path: Path) -> None:
    values = samples(170, 210) + 1
    values[:, :64, :64] = 0
    path = write_scene(tmp_path / "scene.tif", values, tile=32, nodata=0)
    said = Rendering((3, 2, 1), percentiles=((2, 98), (0, 100), (5, 95.5)))
    with rasterio.open(path) as file:
        bands = [band.compressed() for band in file.read((3, 2, 1), masked=True)]
    ends = zip(bands, said.percentiles, strict=True)
    stretch = tuple(tuple(np.percentile(*of_band, method="nearest").tolist()) for of_band in ends)
    shown = read(path, Grid(64, 40, 0), said)
    check_like_chips(path, shown, Rendering((3, 2, 1), stretch))
    assert all("stretched" in window.repairs for window in images(shown))


def test_a_picture_needs_no_flag(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(100, 130, 3, "uint8"), tile=64, photometric="RGB")
    shown = read(path, rendering=NO_RENDERING)
    check_like_chips(path, shown, NO_RENDERING)
    assert {image.repairs for image in images(shown)} == {()}


def test_jpegs_in_a_scene_are_decoded_with_the_tables_that_they_share(tmp_path: Path) -> None:
    values = samples(128, 192, 3, "uint8")
    path = write_scene(tmp_path / "scene.tif", values, tile=64, compress="jpeg", photometric="YCBCR")
    with rasterio.open(path) as file:
        decoded = file.read()
    expected = write_scene(tmp_path / "plain.tif", decoded, tile=64, photometric="RGB")
    for shown, plain in zip(
        images(read(path, rendering=NO_RENDERING)), images(read(expected, rendering=NO_RENDERING)), strict=True
    ):
        assert np.abs(shown.pixels.astype(int) - plain.pixels).max() <= 4, shown.ref.path
