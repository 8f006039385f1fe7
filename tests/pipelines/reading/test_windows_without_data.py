"""Windows with too little data are left out, and what holds none is as in a chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from pipelines.images import DecodeSettings, decode_resized
from pipelines.images.rendering import NO_RENDERING
from pipelines.records import Empty, Failure, Image
from pipelines.scenes.grid import PAD, Grid
from tests.pipelines.reading.windowed import MOST, SHOWN, box, cut, images, read
from tests.scene_files import cut_chip, samples, write_scene


def test_windows_are_padded_with_black_that_holds_no_data(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(100, 100), tile=64)
    whole, right, below, corner = read(path, Grid(64, 64, 0.32, PAD))
    assert isinstance(corner, Empty), "a third of it holds data: 36 x 36 pixels"
    assert [box(item) for item in (whole, right, below, corner)] == [
        *((0, 0, 64, 64), (64, 0, 64, 64), (0, 64, 64, 64), (64, 64, 64, 64))
    ]
    for image in images([right, below]):
        assert "no_data_kept" in image.repairs
    assert isinstance(right, Image)
    assert not right.pixels[:, 30:].any()
    assert right.pixels[:, :24].any()


def holed(values: NDArray[Any], column: int, value: float) -> NDArray[Any]:
    """Return samples of which those from a column on have a value."""
    values = values.copy()
    values[:, :, column:] = value
    return values


@pytest.mark.parametrize(
    ("kind", "value", "no_data"),
    [("uint16", 0, 0), ("float32", np.nan, None), ("float32", -9999, -9999), ("int16", -1, -1)],
)
def test_windows_without_enough_data_are_left_out(
    kind: str, value: float, no_data: float | None, tmp_path: Path
) -> None:
    values = holed(samples(64, 192, 4, kind).clip(1), 80, value)
    path = write_scene(tmp_path / "scene.tif", values, tile=64, nodata=no_data)
    whole, quarter, none = read(path, Grid(64, 64, 0.25))
    assert isinstance(whole, Image)
    assert isinstance(quarter, Image)
    assert isinstance(none, Empty)
    assert "no_data_kept" not in whole.repairs
    assert "no_data_kept" in quarter.repairs
    assert [type(item) for item in read(path, Grid(64, 64, 0.26))] == [Image, Empty, Empty]
    assert [type(item) for item in read(path, Grid(64, 64, 0))] == [Image, Image, Image]


@pytest.mark.parametrize(
    ("kind", "bands", "named", "value"),
    [
        ("int16", 4, None, 0),
        ("int16", 4, 0, -9999),
        ("float32", 4, -1, -9999),
        ("uint8", 3, 7, 250),
        ("uint8", 3, None, 0),
    ],
)
def test_windows_are_those_of_a_file_that_names_the_value_for_no_data_itself(
    kind: str, bands: int, named: float | None, value: int, tmp_path: Path
) -> None:
    values = holed(samples(64, 192, bands, kind).clip(1, 249), 80, value)
    theirs = write_scene(tmp_path / "theirs.tif", values, tile=64, nodata=value)
    ours = write_scene(tmp_path / "ours.tif", values, tile=64, nodata=named)
    rendering = SHOWN if bands == 4 else NO_RENDERING

    whole, quarter, none = read(ours, Grid(64, 64, 0.25, nodata=value), rendering)
    expected = images(read(theirs, Grid(64, 64, 0.25), rendering)[:2])

    assert isinstance(none, Empty)
    for item, other in zip(images([whole, quarter]), expected, strict=True):
        assert item.repairs == other.repairs
        np.testing.assert_array_equal(item.pixels, other.pixels)
    assert "no_data_kept" in expected[1].repairs
    assert not any(isinstance(item, Empty) for item in read(ours, Grid(64, 64, 0.25), rendering))


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("uint8", 256, "0 to 255"),
        ("uint16", -1, "0 to 65,535"),
        ("int16", 32768, "-32,768 to 32,767"),
        ("uint8", 0.5, ""),
    ],
)
def test_a_value_for_no_data_that_no_sample_can_have_is_refused(
    kind: str, value: float, told: str, tmp_path: Path
) -> None:
    bands = 3 if kind == "uint8" else 4
    path = write_scene(tmp_path / "scene.tif", samples(64, 128, bands, kind), tile=64)
    [failure] = cut(path, Grid(64, 64, nodata=value), NO_RENDERING if bands == 3 else SHOWN)
    assert isinstance(failure, Failure)
    assert failure.message.startswith(f"--nodata {value}: its samples are whole numbers from {told}")


def test_tiles_that_a_sparse_scene_leaves_out_hold_no_data(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    place = {"transform": rasterio.Affine(3, 0, 0, 0, -3, 0), "crs": "EPSG:32720"}
    size = {"width": 192, "height": 128, "count": 4, "dtype": "uint16"}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        path, "w", driver="GTiff", SPARSE_OK="TRUE", compress="deflate", **size, **tiles, **place
    ) as file:
        file.write(samples(64, 64) + 1, window=rasterio.windows.Window(64, 0, 64, 64))
    kinds = [type(item) for item in read(path)]
    assert kinds == [Empty, Image, Empty, Empty, Empty, Empty]


@pytest.mark.parametrize(
    ("kind", "no_data", "options"),
    [
        ("uint16", 65535, {}),
        ("float32", 1800, {"interleave": "band", "compress": "deflate"}),
        ("uint8", 255, {"photometric": "RGB"}),
        ("uint8", 200, {"photometric": "YCBCR", "compress": "jpeg"}),
    ],
    ids=str,
)
def test_a_part_that_is_left_out_shows_the_value_for_no_data_as_in_a_chip(
    kind: str, no_data: int, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its windows may reach into other parts."""
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    path, count = tmp_path / "scene.tif", 3 if kind == "uint8" else 4
    values = np.full((count, 192, 192), no_data, kind)
    values[:, :64] = samples(64, 192, count, kind)
    write_scene(path, values, tile=64, nodata=no_data, SPARSE_OK="TRUE", **options)
    rendering = NO_RENDERING if kind == "uint8" else SHOWN
    shown = images(read(path, Grid(64, 40, 0), rendering))
    assert len(shown) == 25
    lossless = {"photometric": "RGB"} if kind == "uint8" else {}
    for window in shown:
        decoding = DecodeSettings(48, "bilinear", MOST, rendering)
        chip = decode_resized(cut_chip(path, box(window), **lossless), decoding)
        assert np.abs(window.pixels - chip.pixels.astype(int)).max() <= 4 * ("jpeg" in options.values()), (
            window.ref.path
        )


@pytest.mark.parametrize(("meaning", "kinds"), [("YES", [Image, Empty]), ("UNSPECIFIED", [Image, Image])])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_fourth_band_masks_only_if_it_is_opacity(
    meaning: str, kinds: list[type], interleave: str, tmp_path: Path
) -> None:
    """Near infrared is zero over water."""
    values = samples(64, 128, 4, "uint8")
    values[3] = 255
    values[3, :, 64:] = 0
    how = {"photometric": "RGB", "ALPHA": meaning, "interleave": interleave}
    path = write_scene(tmp_path / "scene.tif", values, tile=64, **how)
    assert [type(item) for item in read(path, rendering=NO_RENDERING)] == kinds


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_near_infrared_before_opacity_is_not_taken_for_it(interleave: str, tmp_path: Path) -> None:
    values = samples(64, 128, 5, "uint8")
    values[3:] = 255
    values[3, :, 64:] = 0
    path = write_scene(tmp_path / "scene.tif", values, tile=64, photometric="RGB", interleave=interleave)
    with rasterio.open(path, "r+") as file:
        interp = rasterio.enums.ColorInterp
        file.colorinterp = [interp.red, interp.green, interp.blue, interp.undefined, interp.alpha]
    assert [type(item) for item in read(path, rendering=NO_RENDERING)] == [Image, Image]
