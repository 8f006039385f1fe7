"""Windows of scenes show what chips show that were cut beforehand."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from pipelines import storage
from pipelines.images import DecodeSettings, decode_resized
from pipelines.images.limits import Limits
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.reading import parts
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, Image, ImageRef, Listed
from pipelines.scenes import reading
from pipelines.scenes.grid import PAD, Grid
from pipelines.supervision.budget import Budget
from tests.scene_files import cut_chip, samples, write_scene

SHOWN = Rendering((3, 2, 1), ((0, 2500),) * 3)
TILE = Grid(64, 64)
MOST = 64_000_000

Read = Image | Failure | Empty


def cut(path: Path, grid: Grid = TILE, rendering: Rendering = SHOWN) -> list[Listed]:
    return list(cut_scenes([refer(str(path))], CutSettings(grid, rendering, MOST)))


def read(path: Path, grid: Grid = TILE, rendering: Rendering = SHOWN) -> list[Read]:
    """Read all windows of a scene, whose reading is then over."""
    refs = cut(path, grid, rendering)
    assert all(isinstance(ref, ImageRef) and ref.window for ref in refs), refs
    decoding = DecodeSettings(48, "bilinear", MOST, rendering)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=grid), 4)) as ahead:
        return list(ahead.read(refs))  # type: ignore[arg-type]


def images(read_: list[Read]) -> list[Image]:
    assert all(isinstance(item, Image) for item in read_), read_
    return read_  # type: ignore[return-value]


def box(item: Read | Listed) -> tuple[int, int, int, int]:
    ref = item if isinstance(item, ImageRef) else item.ref  # type: ignore[union-attr]
    assert ref.window
    return ref.window[1:5]


def check_like_chips(path: Path, shown: list[Read], rendering: Rendering = SHOWN, **options: Any) -> None:
    for window in images(shown):
        chip = decode_resized(cut_chip(path, box(window), **options), DecodeSettings(48, "bilinear", MOST, rendering))
        assert np.array_equal(window.pixels, chip.pixels), window.ref.path
        assert window[1:5] == chip[:4], window.ref.path


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


def test_no_tile_is_decoded_or_fetched_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(500, 640), tile=64, compress="deflate")
    fetched: Counter[int] = Counter()
    read_range = storage.read_range

    def count(name: str, start: int, length: int, fingerprint: str = "") -> bytes:
        fetched.update(range(start, start + length))
        return read_range(name, start, length, fingerprint)

    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 640 * 64)
    refs = cut(path)
    monkeypatch.setattr(storage, "read_range", count)
    decoding = DecodeSettings(48, "bilinear", MOST, SHOWN)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=TILE), 4)) as ahead:
        assert len(list(ahead.read(refs))) == 80  # type: ignore[arg-type]
    with rasterio.open(path) as file:
        first = min(int(file.get_tag_item(f"BLOCK_OFFSET_{x}_0", "TIFF", bidx=1)) for x in range(10))
    again = [byte for byte, times in fetched.items() if times > 1 and byte >= max(first, 1 << 16)]
    assert not again, f"{len(again)} bytes were fetched twice, e.g. byte {again[0]}"


def test_windows_that_lie_in_several_parts_do_not_decode_them_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(300, 210), tile=32)
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    decoded: list[int] = []
    read_part = reading.read_part

    def count(scene: Any, number: int, *others: Any) -> Any:
        decoded.append(number)
        return read_part(scene, number, *others)

    monkeypatch.setattr(parts, "read_part", count)
    check_like_chips(path, read(path, Grid(50, 50)))
    assert sorted(decoded) == list(range(5))


def test_a_scene_that_is_cut_off_loses_only_the_parts_of_which_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(256, 256), tile=64)
    # A part for each row of tiles.
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    whole = images(read(path))
    path.write_bytes(path.read_bytes()[:-100])

    shown = read(path)

    for item, complete in zip(shown[:12], whole, strict=False):
        assert isinstance(item, Image)
        assert box(item) == box(complete)
        assert np.array_equal(item.pixels, complete.pixels)
    failures = [item for item in shown[12:] if isinstance(item, Failure)]
    assert [item.path for item in failures] == [f"{path}#xywh={column},192,64,64" for column in range(0, 256, 64)]
    [message] = {item.message for item in failures}
    assert message.startswith("truncated TIFF: the tile at byte ")


def test_a_scene_that_is_replaced_while_it_is_read_is_a_failure(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(64, 64), tile=64)
    refs = cut(path)
    write_scene(path, samples(64, 64, seed=1), tile=64)
    decoding = DecodeSettings(48, "bilinear", MOST, SHOWN)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=TILE), 4)) as ahead:
        [failure] = ahead.read(refs)  # type: ignore[arg-type]
    assert isinstance(failure, Failure)
    assert failure.message == "the file has changed since it was listed; run the same command again"


def test_parts_are_read_ahead_only_as_far_as_there_is_memory_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part has one window; as many as are read ahead would take many times the budget."""
    path = write_scene(tmp_path / "scene.tif", samples(64 * 40, 64), tile=64)
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    size = 64 * 64 * 4
    source = ImageSource(DecodeSettings(48, "bilinear", MOST, SHOWN), Limits(), 2, Budget(4 * 3 * size, MOST), TILE)
    most = 0
    read_part = reading.read_part

    def look(*arguments: Any) -> Any:
        nonlocal most
        assert source._windows
        most = max(most, sum(part.size for part in list(source._windows._parts._kept.values())))
        return read_part(*arguments)

    monkeypatch.setattr(parts, "read_part", look)
    with closing(LookAhead(source, 16)) as ahead:
        assert len(list(ahead.read(cut(path)))) == 40  # type: ignore[arg-type]
    assert size < most <= 3 * size


def test_a_part_larger_than_all_room_is_read_alone(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(128, 128), tile=64)
    grid = Grid(64, 40)
    source = ImageSource(DecodeSettings(48, "bilinear", MOST, SHOWN), Limits(), 2, Budget(1000, MOST), grid)
    with closing(LookAhead(source, 16)) as ahead:
        assert len(list(ahead.read(cut(path, grid)))) == 9  # type: ignore[arg-type]
