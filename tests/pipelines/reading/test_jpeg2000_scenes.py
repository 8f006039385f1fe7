"""Windows of JPEG 2000 scenes show what the whole image shows, though only some of its tiles are read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image as Picture
from rasterio.enums import ColorInterp

from pipelines.images import DecodeSettings, decode
from pipelines.images.limits import Limits
from pipelines.images.rendering import NO_RENDERING, Rendering, rendering_of
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, Image, Listed
from pipelines.scenes.grid import Grid
from tests.scene_files import UTM, samples

GRID = Grid(64, 50)
MOST = 64_000_000


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read no more at once than the tiles around a row of windows."""
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)


def write(path: Path, bands: int = 3, **options: Any) -> Path:
    shape = {"width": 190, "height": 170, "count": bands, "dtype": "uint8"}
    place = {"crs": "EPSG:32720", "transform": UTM}
    tiles = {"BLOCKXSIZE": 64, "BLOCKYSIZE": 64}
    with rasterio.open(path, "w", driver="JP2OpenJPEG", **shape, **place, **{**tiles, **options}) as file:
        file.write(samples(170, 190, bands, "uint8"))
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha][:bands]
    return path


def cut(path: Path, grid: Grid = GRID, rendering: Rendering = NO_RENDERING) -> list[Listed]:
    return list(cut_scenes([refer(str(path))], CutSettings(grid, rendering, MOST)))


def read(path: Path, grid: Grid = GRID, rendering: Rendering = NO_RENDERING) -> list[Image | Failure | Empty]:
    decoding = DecodeSettings(grid.tile, "bilinear", MOST, rendering)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=grid), 4)) as ahead:
        return list(ahead.read(cut(path, grid, rendering)))  # type: ignore[arg-type]


def check(path: Path) -> None:
    whole = decode(path.read_bytes()).pixels
    shown = read(path)
    assert len(shown) == 16
    for image in shown:
        assert isinstance(image, Image), image
        assert image.ref.window
        _, column, row, width, height, *_ = image.ref.window
        assert np.array_equal(image.pixels, whole[row : row + height, column : column + width]), image.ref.path


@pytest.mark.parametrize(
    "options",
    [
        {"REVERSIBLE": "YES", "QUALITY": 100},
        {"QUALITY": 20, "BLOCKXSIZE": 50, "BLOCKYSIZE": 70},
        {"PROGRESSION": "RPCL", "PRECINCTS": "{32,32},{16,16}", "RESOLUTIONS": 4},
        {"TLM": "YES", "PLT": "YES", "YCC": "YES", "BLOCKXSIZE": 256, "BLOCKYSIZE": 64},
    ],
    ids=str,
)
def test_windows_of_tiles_are_those_of_the_whole_image(options: dict[str, Any], tmp_path: Path) -> None:
    check(write(tmp_path / "scene.jp2", **options))


@pytest.mark.parametrize("origin", [(0, 0), (37, 51), (64, 32)])
def test_tiles_keep_their_places_on_the_reference_grid(origin: tuple[int, int], tmp_path: Path) -> None:
    picture = Picture.fromarray(samples(170, 190, 3, "uint8").transpose(1, 2, 0))
    first = (min(origin[0], 5), min(origin[1], 3))
    for name in ("scene.jp2", "scene.j2k"):
        picture.save(tmp_path / name, tile_size=(64, 64), offset=origin, tile_offset=first, irreversible=False)
        check(tmp_path / name)


def test_of_a_codestream_that_is_cut_off_windows_fail_whose_tiles_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "scene.j2k"
    Picture.fromarray(samples(170, 190, 3, "uint8").transpose(1, 2, 0)).save(path, tile_size=(64, 64))
    path.write_bytes(path.read_bytes()[:-200])
    shown = read(path)
    assert [type(item) for item in shown] == [Image] * 8 + [Failure] * 8
    [message] = {item.message for item in shown if isinstance(item, Failure)}
    assert message == "truncated JPEG 2000: its data ends within tile 9"


def test_a_scene_whose_box_is_cut_off_is_one_failure(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.jp2")
    path.write_bytes(path.read_bytes()[:-200])
    [failure] = cut(path)
    assert isinstance(failure, Failure)
    assert failure.message.startswith("truncated JPEG 2000: its box b'jp2c' at byte ")


@pytest.mark.parametrize("options", [{}, {"GeoJP2": "NO"}, {"GMLJP2": "NO"}], ids=str)
def test_windows_lie_where_their_geotiff_or_gml_says(options: dict[str, Any], tmp_path: Path) -> None:
    [first, *_] = read(write(tmp_path / "scene.jp2", **options))
    assert isinstance(first, Image)
    assert first.footprint
    # 64 pixels of 3 m at the central meridian of the zone, 9 degrees south.
    west, south, east, north = first.footprint.bounds
    assert (west, north) == pytest.approx((-63.0, -9.0466), abs=1e-4)
    assert (east - west, north - south) == pytest.approx((0.001747, 0.001736), abs=2e-6)


def test_pixels_without_area_have_no_geometry(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.jp2", GeoJP2="NO")
    data = path.read_bytes()
    assert data.count(b">3 0<") == 1, "GDAL writes the step of columns otherwise"
    path.write_bytes(data.replace(b">3 0<", b">0 0<"))
    [first, *_] = read(path)
    assert isinstance(first, Image)
    assert first.footprint
    assert not first.footprint.geometry


@pytest.mark.parametrize(
    ("product", "kinds"), [("sentinel-2-l2a", [Empty, Image]), ("planet-analytic", [Image, Image]), ("", [Image] * 2)]
)
def test_true_colours_of_sentinel_2_hold_no_data_where_they_are_0(
    product: str, kinds: list[type], tmp_path: Path
) -> None:
    """ESA's files cannot say it themselves."""
    values = samples(64, 128, 3, "uint8") + 1
    values[:, :, :100] = 0
    Picture.fromarray(values.transpose(1, 2, 0)).save(tmp_path / "TCI.jp2", irreversible=False)
    rendering = rendering_of(product)
    shown = read(tmp_path / "TCI.jp2", Grid(64, 64, 0.4), rendering)
    assert [type(item) for item in shown] == kinds
    assert isinstance(shown[-1], Image)
    assert shown[-1].repairs == ("no_data_kept",) * (Empty in kinds)


def test_a_scene_without_a_place_is_cut_if_it_is_large(tmp_path: Path) -> None:
    for side, cut_into in ((64, 1), (65, 4)):
        path = tmp_path / f"{side}.jp2"
        Picture.fromarray(samples(side, side, 3, "uint8").transpose(1, 2, 0)).save(path)
        listed = cut(path)
        assert len(listed) == cut_into
        assert getattr(listed[0], "window", None) is None or side > GRID.tile


def test_deep_samples_are_refused_once(tmp_path: Path) -> None:
    path = tmp_path / "scene.jp2"
    Picture.fromarray(samples(100, 100, 1)[0]).save(path)
    [failure] = cut(path)
    assert isinstance(failure, Failure)
    assert failure.message.startswith("16-bit scene: it is unknown how bright white is")


def test_a_value_for_no_data_of_a_jpeg_2000_is_refused_not_ignored(tmp_path: Path) -> None:
    [failure] = cut(write(tmp_path / "scene.jp2"), GRID._replace(nodata=0))
    assert isinstance(failure, Failure)
    assert failure.message.startswith("--nodata of a JPEG 2000 is not supported; turn it into a GeoTIFF")
