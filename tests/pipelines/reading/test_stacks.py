"""Scenes whose bands are files of their own show what chips of the stacked bands show."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipelines.images.rendering import Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.stacks import refer_scene, refer_stack
from pipelines.records import Empty, Failure, Image, ImageRef, Item, Listed
from tests.pipelines.reading.stacked import (
    IN_ORDER,
    SHOWN,
    TILE,
    check_like_chips,
    cut,
    read,
    refused,
    write_bands,
)
from tests.scene_files import UTM, samples, write_scene, write_vrt


@pytest.mark.parametrize(
    "layouts",
    [
        [{"tile": 64, "compress": "deflate", "predictor": 2}],
        [{"tile": 32, "compress": "zstd"}, {"blockysize": 7}, {"tile": 128, "BIGTIFF": "YES", "ENDIANNESS": "BIG"}],
    ],
    ids=["alike", "unlike"],
)
def test_windows_of_a_virtual_raster_are_chips_of_its_stacked_bands(
    layouts: Sequence[dict[str, Any]], tmp_path: Path
) -> None:
    path = write_vrt(tmp_path / "scene.vrt", write_bands(tmp_path, 4, layouts=layouts))
    check_like_chips(path, read(cut(refer(str(path)))))


@pytest.mark.parametrize(("kind", "count"), [("uint8", 3), ("int16", 1), ("float32", 3)])
def test_bands_of_other_kinds_are_shown_like_chips(kind: str, count: int, tmp_path: Path) -> None:
    rendering = SHOWN if count == 3 else Rendering((), ((0, 2500),) * 3)
    path = write_vrt(tmp_path / "scene.vrt", write_bands(tmp_path, count, kind))
    check_like_chips(path, read(cut(refer(str(path)), rendering), rendering), rendering)


@pytest.mark.parametrize("bits", [12, 15, 16])
def test_bands_in_jpeg_2000s_are_shown_like_chips(bits: int, tmp_path: Path) -> None:
    """So Sentinel-2 delivers them."""
    names = [f"b{number}.jp2" for number in range(3)]
    shape = {"width": 210, "height": 170, "count": 1, "dtype": "uint16"}
    place = {"crs": "EPSG:32720", "transform": UTM}
    lossless = {"REVERSIBLE": "YES", "QUALITY": 100, "NBITS": bits, "BLOCKXSIZE": 64, "BLOCKYSIZE": 64}
    for name, values in zip(names, samples(170, 210, 3), strict=True):
        with rasterio.open(tmp_path / name, "w", driver="JP2OpenJPEG", **shape, **place, **lossless) as file:
            file.write(values, 1)
    path = write_vrt(tmp_path / "scene.vrt", names)
    check_like_chips(path, read(cut(refer(str(path)))), repairs=False)


def write_jpeg_2000s(folder: Path) -> Listed:
    """Write bands as Sentinel-2 delivers them, of which the left part holds no data."""
    shape = {"width": 130, "height": 64, "count": 1, "dtype": "uint16", "crs": "EPSG:32720", "transform": UTM}
    paths = [folder / f"B{number:02}.jp2" for number in (4, 3, 2)]
    for path, values in zip(paths, samples(64, 130, 3) + 1100, strict=True):
        values[:, :90] = 0
        with rasterio.open(path, "w", driver="JP2OpenJPEG", REVERSIBLE="YES", QUALITY=100, NBITS=15, **shape) as file:
            file.write(values, 1)
    return refer_stack([str(path) for path in paths])


def test_jpeg_2000s_of_a_product_hold_no_data_where_they_are_0(tmp_path: Path) -> None:
    rendering = Rendering((), ((1000, 4000),) * 3, "sentinel-2-l2a")
    shown = read(cut(write_jpeg_2000s(tmp_path), rendering), rendering)
    assert [type(window) for window in shown] == [Empty, Image, Image]
    assert [window.repairs for window in shown if isinstance(window, Image)] == [("no_data_kept", "stretched")] * 2


@pytest.mark.parametrize(
    ("rendering", "remedy"),
    [
        (Rendering(product="sentinel-2-l2a"), "give --stretch 1000:4000 if its values hold the offset of 1,000"),
        (Rendering(product="landsat-8-l2"), "give --stretch 7273:18182"),
        (Rendering(percentiles=((2, 98),) * 3), "give values, e.g. --stretch 0:3000: percentiles are looked for in"),
    ],
    ids=str,
)
def test_deep_jpeg_2000s_without_a_stretch_are_refused_with_what_to_add(
    rendering: Rendering, remedy: str, tmp_path: Path
) -> None:
    [failure] = cut(write_jpeg_2000s(tmp_path), rendering)
    assert isinstance(failure, Failure)
    assert f"how bright its white is; {remedy}" in failure.message


def test_a_value_for_no_data_that_is_given_holds_for_each_band_also_where_a_virtual_raster_names_another(
    tmp_path: Path,
) -> None:
    names = write_bands(tmp_path, nodata=3)
    for name in names:
        with rasterio.open(tmp_path / name, "r+") as file:
            values = file.read(1)
            values[:, :100] = 7
            file.write(values, 1)
    path = write_vrt(tmp_path / "scene.vrt", names, children="<NoDataValue>5</NoDataValue>")
    for listed in (refer(str(path)), refer_stack([str(tmp_path / name) for name in names])):
        grid = TILE._replace(nodata=7)
        empty = [isinstance(window, Empty) for window in read(cut(listed, grid=grid), grid=grid)]
        assert empty == [True, True, False, False] * 3


def test_assets_are_red_green_and_blue_whatever_the_bundle_says_of_bands(tmp_path: Path) -> None:
    names = write_bands(tmp_path)
    paths = [str(tmp_path / name) for name in (names[2], names[0], names[1])]
    listed = refer_stack(paths, Item("item", ""))
    assert listed.path == f"{tmp_path}/b3.tif+b1.tif+b2.tif"
    path = write_vrt(tmp_path / "scene.vrt", ["b3.tif", "b1.tif", "b2.tif"])
    check_like_chips(path, read(cut(listed)), SHOWN._replace(bands=(1, 2, 3)))


def test_a_scene_that_was_tagged_is_found_again_by_its_name(tmp_path: Path) -> None:
    names = write_bands(tmp_path)
    listed = refer_stack([str(tmp_path / name) for name in names])
    assert refer_scene(listed.path, SHOWN) == listed
    path = write_vrt(tmp_path / "scene.vrt", names)
    again = refer_scene(str(path), SHOWN)
    assert isinstance(again, ImageRef)
    assert {ref.fingerprint for ref in cut(refer(str(path)))} == {again.fingerprint}
    missing = refer_scene(f"{tmp_path}/b1.tif+x.tif", SHOWN)
    assert isinstance(missing, Failure)
    assert missing.message == "x.tif: No such file or directory"


def test_bands_are_chosen_by_their_names_where_nothing_else_says_it(tmp_path: Path) -> None:
    names = write_bands(tmp_path, 4)
    path = write_vrt(tmp_path / "scene.vrt", names)
    assert "does not say which are red, green and blue; give --bands" in refused(path, IN_ORDER)
    text = path.read_text()
    for number, colour in ((1, "Blue"), (2, "Green"), (4, "Red")):
        text = text.replace(f'band="{number}">', f'band="{number}"><ColorInterp>{colour}</ColorInterp>')
    path.write_text(text)
    shown = read(cut(refer(str(path)), IN_ORDER), IN_ORDER)
    check_like_chips(path, shown, SHOWN._replace(bands=(4, 2, 1)))
    assert "bands_421" in shown[0].repairs  # type: ignore[union-attr]


def test_a_window_holds_data_where_one_of_its_bands_does(tmp_path: Path) -> None:
    """`gdalbuildvrt` makes sources of files with such a value complex."""
    names = ["b1.tif", "b2.tif", "b3.tif"]
    for number, (name, values) in enumerate(zip(names, samples(128, 128, 3) + 1, strict=True)):
        values[:, 64:] = 0
        values[: 64 * (number > 0), :64] = 0
        write_scene(tmp_path / name, values[np.newaxis])
    value = {"children": "<NoDataValue>0</NoDataValue>", "source": "<NODATA>0</NODATA>"}
    path = write_vrt(tmp_path / "scene.vrt", names, **value)
    first, empty, below, also_empty = read(cut(refer(str(path))))
    assert isinstance(first, Image)
    assert isinstance(below, Image)
    assert isinstance(empty, Empty)
    assert isinstance(also_empty, Empty)

    path = write_vrt(path, names)
    assert all(isinstance(item, Image) for item in read(cut(refer(str(path))))), "the files say nothing of it"


@pytest.mark.parametrize(("kind", "no_data"), [("uint16", None), ("int16", -500), ("uint8", 90)])
def test_a_band_that_leaves_out_a_part_is_shown_as_in_a_chip(kind: str, no_data: int | None, tmp_path: Path) -> None:
    names = write_bands(tmp_path, 3, kind, tile=64, nodata=no_data)
    options = {"driver": "GTiff", "width": 210, "height": 170, "count": 1, "dtype": kind, "nodata": no_data}
    place = {"crs": "EPSG:32720", "transform": UTM}
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": "TRUE"}
    with rasterio.open(tmp_path / "b2.tif", "w", **options, **place, **tiled):
        pass
    rendering = Rendering((3, 2, 1), ((-1000, 2500),) * 3)
    value = {} if no_data is None else {"children": f"<NoDataValue>{no_data}</NoDataValue>"}
    path = write_vrt(tmp_path / "scene.vrt", names, **value)
    check_like_chips(path, read(cut(refer(str(path)), rendering), rendering), rendering, repairs=False)


def test_a_scene_of_several_files_is_another_version_if_one_of_them_is(tmp_path: Path) -> None:
    path = write_vrt(tmp_path / "scene.vrt", write_bands(tmp_path))
    refs = cut(refer(str(path)))
    os.utime(tmp_path / "b2.tif", (1, 1))
    changed = cut(refer(str(path)))
    assert isinstance(refs[0], ImageRef)
    assert isinstance(changed[0], ImageRef)
    assert changed[0].path == refs[0].path
    assert changed[0].fingerprint != refs[0].fingerprint
    failure = read(refs[:1])[0]
    assert isinstance(failure, Failure)
    assert failure.message == "b2.tif: the file has changed since it was listed; run the same command again"
