"""What only the values of a whole scene say; rasterio and NumPy are the judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling

from pipelines import storage
from pipelines.images import ImageError
from pipelines.images.rendering import Rendering, pack_rendering, unpack_rendering
from pipelines.listing.lookup import refer
from pipelines.scenes.grid import Grid
from pipelines.scenes.opening import open_scene
from pipelines.scenes.scene import Scene
from tests.scene_files import samples, write_scene

P2_P98 = Rendering((3, 2, 1), percentiles=((2, 98),) * 3)


def opened(path: Path, rendering: Rendering = P2_P98, tile: int = 64) -> Scene:
    scene = open_scene.__wrapped__(refer(str(path)), Grid(tile, tile), rendering, 64_000_000)
    assert scene is not None
    return scene


def expected(path: Path, bands: tuple[int, ...] = (3, 2, 1), overview: int | None = None) -> list[list[float]]:
    """Compute percentiles of what GDAL takes for valid."""
    level = {} if overview is None else {"overview_level": overview}
    with rasterio.open(path, **level) as file:
        values = file.read(bands, masked=not any(MaskFlags.alpha in flags for flags in file.mask_flag_enums))
    finite = [band.compressed() if np.ma.isMaskedArray(band) else band.ravel() for band in values]
    return [np.percentile(band[np.isfinite(band)], (2, 98), method="nearest").tolist() for band in finite]


def with_holes(kind: str = "uint16") -> NDArray[Any]:
    values = samples(300, 400, kind=kind) + 1
    values[:, 100:200, :150] = 0
    # Outliers that no percentile should be drawn by.
    values[:, :3, :3] = 30_000
    return values


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("uint16", {"tile": 64, "nodata": 0, "compress": "deflate"}),
        ("uint16", {"tile": 64, "nodata": 0, "interleave": "band"}),
        ("uint16", {"nodata": 0, "blockysize": 7}),
        ("int16", {"tile": 64, "nodata": 0, "ENDIANNESS": "BIG"}),
        ("float32", {"tile": 128, "nodata": 0, "compress": "zstd", "predictor": 3}),
        ("uint16", {"tile": 64, "photometric": "RGB"}),
    ],
    ids=str,
)
def test_percentiles_are_of_all_pixels_that_hold_data(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", with_holes(kind), **options)
    assert [list(ends) for ends in opened(path).rendering.stretch] == expected(path)
    assert opened(path).rendering == P2_P98._replace(percentiles=(), stretch=opened(path).rendering.stretch)


def test_a_mask_and_values_that_are_no_numbers_hide_pixels(tmp_path: Path) -> None:
    values = with_holes("float32")
    values[:, 250:] = np.nan
    values[0, 240] = np.inf
    path = write_scene(tmp_path / "scene.tif", values, tile=64)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.where(values[0] == 0, 0, 255).astype("uint8"))
    assert [list(ends) for ends in opened(path).rendering.stretch] == expected(path)


def test_a_single_band_has_one_range(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", with_holes()[:1], tile=64, nodata=0)
    found = opened(path, P2_P98._replace(bands=())).rendering.stretch
    assert [list(ends) for ends in found] == expected(path, (1,)) * 3


def add_overviews(path: Path, masked: bool = False) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        if masked:
            file.write_mask(np.where(file.read(1) == 0, 0, 255).astype("uint8"))
        file.build_overviews([2, 4], Resampling.average)


@pytest.mark.parametrize("options", [{"nodata": 0}, {"masked": True}], ids=str)
def test_the_smallest_overview_that_shows_the_scene_is_read(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.scenes.sampling._LEAST_PIXELS", 10_000)
    masked = options.pop("masked", False)
    path = write_scene(tmp_path / "scene.tif", with_holes(), tile=64, **options)
    add_overviews(path, masked)
    with rasterio.open(path, overview_level=0) as half:
        # Rounding of averages apart, the scene itself has other percentiles.
        assert half.shape == (150, 200)
    assert [list(ends) for ends in opened(path).rendering.stretch] == expected(path, overview=0)


def test_an_overview_of_another_shape_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.scenes.sampling._LEAST_PIXELS", 10_000)
    path = write_scene(tmp_path / "scene.tif", with_holes(), tile=64, nodata=0)
    alone = opened(path).rendering
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.nearest)
    assert opened(path).rendering != alone
    data = bytearray(path.read_bytes())
    # The directory of the overview, as wide as high.
    at = data.rindex(b"\x00\x01\x03\x00\x01\x00\x00\x00\xc8\x00")
    data[at + 8 : at + 10] = b"\x96\x00"
    path.write_bytes(data)
    assert opened(path).rendering == alone


def test_a_damaged_overview_is_passed_over_and_a_damaged_scene_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.scenes.sampling._LEAST_PIXELS", 10_000)
    path = write_scene(tmp_path / "scene.tif", with_holes(), tile=64, nodata=0, compress="deflate")
    alone, size = opened(path).rendering, path.stat().st_size
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.average)
    assert opened(path).rendering != alone
    data = bytearray(path.read_bytes())
    data[size + 3000 :] = bytes(len(data) - size - 3000)
    path.write_bytes(data)
    assert opened(path).rendering == alone
    path.write_bytes(data[: size // 2])
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        opened(path)


def test_the_only_strip_of_a_scene_may_be_too_large_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.scenes.sampling._MOST_BLOCK", 100_000)
    path = write_scene(tmp_path / "scene.tif", with_holes(), blockysize=300, compress="deflate")
    with pytest.raises(
        ImageError, match=r"strips of 120,000 pixels: more than 100,000 are not decoded at once.*; rewrite it in tiles"
    ):
        opened(path)


def test_blocks_are_evenly_spread_and_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns = np.mgrid[:2048, :2048].astype("uint16")
    path = write_scene(tmp_path / "scene.tif", np.stack([rows, columns, rows + columns]), tile=64)
    asked: list[int] = []
    read = storage.read_range

    def count(path: str, start: int, length: int, fingerprint: str = "") -> bytes:
        asked.append(length)
        return read(path, start, length, fingerprint)

    monkeypatch.setattr(storage, "read_range", count)
    found = opened(path, P2_P98._replace(bands=(1, 2, 3))).rendering.stretch
    assert len(asked) <= 70
    assert sum(asked) < path.stat().st_size / 3
    for (low, high), most in zip(found, (2048, 2048, 4096), strict=True):
        assert low < 0.15 * most
        assert high > 0.85 * most


@pytest.mark.parametrize(
    ("values", "tile", "reason"),
    [
        (np.zeros((3, 100, 100)), 64, "no pixel that was looked at holds data"),
        (np.full((3, 100, 100), 7), 64, "p2 and p98 of red are 7 and 7: nothing would be seen"),
        (samples(64, 64, 3), 64, "no larger than a window"),
    ],
)
def test_a_scene_without_percentiles_is_refused(values: NDArray[Any], tile: int, reason: str, tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", values.astype("uint16"), tile=tile, nodata=0)
    with pytest.raises(ImageError, match=f"{reason}.*; give values, e.g. --stretch 0:3000"):
        opened(path, P2_P98._replace(bands=(1, 2, 3)), tile)


def test_what_was_found_survives_the_way_to_the_workers(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", with_holes("float32"), tile=64, nodata=0)
    found = opened(path).rendering
    assert unpack_rendering(pack_rendering(found)) == found
