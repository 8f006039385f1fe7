"""The inner mask of a scene says which of its pixels hold data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import TiffImagePlugin

from pipelines.images.rendering import NO_RENDERING
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.records import Empty, Failure, Image
from pipelines.scenes.grid import Grid
from pipelines.scenes.opening import open_scene
from pipelines.scenes.reading import bytes_of, memory_of
from tests.pipelines.reading.windowed import TILE, images, read
from tests.scene_files import samples, write_scene

SUBFILE_TYPE, MASK, ROWS_PER_STRIP = 254, 4, 278


def test_an_inner_mask_says_which_pixels_hold_data(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_scene(path, samples(100, 192, 3, "uint8"), tile=64, photometric="RGB")
        with rasterio.open(path, "r+") as file:
            valid = np.zeros((100, 192), bool)
            valid[:, :90] = True
            file.write_mask(valid)
    kinds = [type(item) for item in read(path, Grid(64, 64, 0.4), NO_RENDERING)]
    assert kinds == [Image, Image, Empty] * 2
    assert [type(item) for item in read(path, Grid(64, 64, 0.42), NO_RENDERING)] == [Image, Empty, Empty] * 2


def append_masks(path: Path, *masks: NDArray[np.bool_], **options: Any) -> None:
    """Append inner masks to a TIFF, as older programs do: those of overviews are not said to be smaller."""
    with TiffImagePlugin.AppendingTiffWriter(str(path)) as writer:
        for mask in masks:
            tags = {SUBFILE_TYPE: MASK, ROWS_PER_STRIP: len(mask)}
            Picture.fromarray(mask.astype(np.uint8) * 255).save(writer, "tiff", tiffinfo=tags, **options)
            writer.newFrame()


def test_an_inner_mask_of_another_size_is_left_out_by_name(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(64, 128, 3, "uint8"), tile=64, photometric="RGB")
    append_masks(path, np.zeros((32, 64), np.bool_))
    assert [image.repairs for image in images(read(path, rendering=NO_RENDERING))] == [("mask_dropped",)] * 2


def test_of_several_inner_masks_the_one_of_the_size_of_the_scene_counts(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(64, 128, 3, "uint8"), tile=64, photometric="RGB")
    valid = np.zeros((64, 128), np.bool_)
    valid[:, :64] = True
    append_masks(path, valid[::2, ::2], valid)
    whole, empty = read(path, rendering=NO_RENDERING)
    assert isinstance(empty, Empty)
    assert images([whole])[0].repairs == ()


def test_a_mask_is_decoded_within_the_limits_of_its_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be compressed as a whole, and its pixels are as many as those of the scene."""
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    path = write_scene(tmp_path / "scene.tif", samples(320, 130, 3, "uint8"), tile=64, photometric="RGB")
    plain = open_scene(refer(str(path)), TILE, NO_RENDERING, 130 * 64)
    assert plain
    before, fetched = memory_of(plain, 1), bytes_of(plain, 1)

    append_masks(path, np.ones((320, 130), np.bool_), compression="tiff_adobe_deflate")

    [failure] = cut_scenes([refer(str(path))], CutSettings(TILE, NO_RENDERING, 130 * 320 - 1))
    assert isinstance(failure, Failure)
    assert failure.message.startswith("mask of a scene of which 130 x 320 pixels have to be decoded at once: exceeds")
    scene = open_scene(refer(str(path)), TILE, NO_RENDERING, 130 * 320)
    assert scene
    assert bytes_of(scene, 1) > fetched
    assert memory_of(scene, 1) > before + 130 * 256 * 8
