"""The inner mask of a scene says which of its pixels hold data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import TiffImagePlugin

from pipelines.images.rendering import NO_RENDERING
from pipelines.records import Empty, Image
from pipelines.scenes.grid import Grid
from tests.pipelines.reading.windowed import images, read
from tests.scene_files import samples, write_scene

SUBFILE_TYPE, MASK = 254, 4


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


def append_masks(path: Path, *masks: NDArray[np.bool_]) -> None:
    """Append inner masks to a TIFF, as older programs do: those of overviews are not said to be smaller."""
    with TiffImagePlugin.AppendingTiffWriter(str(path)) as writer:
        for mask in masks:
            Picture.fromarray(mask.astype(np.uint8) * 255).save(writer, "tiff", tiffinfo={SUBFILE_TYPE: MASK})
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
