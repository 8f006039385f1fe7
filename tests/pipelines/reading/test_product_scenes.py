"""Scenes of providers, written by GDAL with all that it says of them, are shown by their reflectance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from pipelines.images.rendering import rendering_of
from pipelines.records import Empty, Failure
from pipelines.scenes.grid import Grid
from tests.pipelines.reading.windowed import cut, images, read
from tests.scene_files import write_scene

GRID = Grid(48, 48, 0.5)
"""Windows as large as what the model of these tests takes, so that nothing is resized."""
SENTINEL_2 = rendering_of("sentinel-2-l2a")


def reflectance() -> NDArray[Any]:
    """Draw four bands: [bands, rows, columns], 0.005 to 0.5, without data at the left."""
    drawn = np.random.default_rng(0).uniform(0.005, 0.5, (4, 480, 480))
    drawn[:, :, :48] = np.nan
    return drawn


def stored(scale: float = 1e-4, offset: float = 0.0) -> NDArray[np.uint16]:
    return np.nan_to_num(np.rint((reflectance() - offset) / scale), nan=0).astype(np.uint16)


def write(
    path: Path, values: NDArray[Any], names: Sequence[str], scales: tuple[float, float] | None = None, **tags: str
) -> Path:
    write_scene(path, values, tile=96)
    with rasterio.open(path, "r+") as file:
        file.descriptions = names
        file.update_tags(**tags)
        if scales:
            file.scales, file.offsets = ([number] * 4 for number in scales)
    return path


def check(path: Path, product: str, repairs: Sequence[str]) -> None:
    """Check that the windows at the left are empty, and others show reflectance from 0 to 0.3."""
    shown = read(path, GRID, rendering_of(product))
    assert [item.ref.window.column for item in shown if isinstance(item, Empty) and item.ref.window] == [0] * 10
    whole = np.clip(reflectance() / 0.3, 0, 1) * 255
    for window in images([item for item in shown if not isinstance(item, Empty)]):
        assert window.ref.window
        _, column, row, *_ = window.ref.window
        expected = whole[:3, row : row + 48, column : column + 48].transpose(1, 2, 0)
        assert np.abs(window.pixels - expected).max() <= 0.55
        assert window.repairs == tuple(repairs)


RGBN = ("B4", "B3", "B2", "B8")


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (1000, {"PROCESSING_BASELINE": "05.09"}),
        (0, {"PROCESSING_BASELINE": "02.14"}),
        (1000, {"scales": (1e-4, -0.1)}),
        (0, {"scales": (1e-4, 0.0), "PROCESSING_BASELINE": "05.09"}),
        (1000, {}),
        (0, {}),
    ],
)
def test_the_offset_of_sentinel_2_is_that_of_the_metadata_or_of_the_values(
    held: int, said: dict[str, Any], tmp_path: Path
) -> None:
    values = stored()
    path = write(tmp_path / "scene.tif", np.where(values, values + held, 0).astype("uint16"), RGBN, **said)
    check(path, "sentinel-2-l2a", ["extra_band_dropped", *["offset_removed"] * bool(held), "stretched"])


def test_a_scene_that_may_hold_the_offset_is_one_failure(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif", stored() + 2500, RGBN)
    [failure] = cut(path, GRID, SENTINEL_2)
    assert isinstance(failure, Failure)
    assert "give --stretch 1000:4000 if its values hold the offset of 1,000, --stretch 0:3000 if not" in failure.message


@pytest.mark.parametrize(
    ("product", "names", "scale", "offset"),
    [
        ("landsat-8-l1", RGBN, 2e-5, -0.1),
        ("landsat-8-l2", ("SR_B4", "SR_B3", "SR_B2", "SR_B5"), 2.75e-5, -0.2),
        ("landsat-4-l2", ("SR_B3", "SR_B2", "SR_B1", "SR_B4"), 2.75e-5, -0.2),
    ],
)
def test_landsat_without_a_value_for_no_data_is_empty_where_it_is_0(
    product: str, names: Sequence[str], scale: float, offset: float, tmp_path: Path
) -> None:
    check(write(tmp_path / "scene.tif", stored(scale, offset), names), product, ["extra_band_dropped", "stretched"])


@pytest.mark.parametrize("fourth", [ColorInterp.alpha, ColorInterp.undefined])
def test_near_infrared_of_naip_masks_nothing(fourth: ColorInterp, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 96, 96)).astype("uint8")
    values[3] = 0
    path = write_scene(tmp_path / "scene.tif", values, tile=32, photometric="RGB")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, fourth]
    shown = images(read(path, GRID, rendering_of("naip")))
    assert np.array_equal(shown[0].pixels, values[:3, :48, :48].transpose(1, 2, 0))
    assert {window.repairs for window in shown} == {("extra_band_dropped",)}
