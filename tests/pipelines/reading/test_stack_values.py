"""What the values of separate bands say: their percentiles, and the offset of Sentinel-2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from pipelines.images import DecodeSettings, decode_resized
from pipelines.images.rendering import NO_RENDERING, Rendering, unpack_rendering
from pipelines.listing.lookup import refer
from pipelines.listing.stacks import refer_stack
from pipelines.records import Failure, Image, ImageRef, Item
from tests.pipelines.reading.stacked import (
    MOST,
    check_like_chips,
    cut,
    read,
    refused,
    write_bands,
)
from tests.scene_files import cut_chip, samples, write_scene, write_vrt


def test_a_deep_stack_needs_a_stretch(tmp_path: Path) -> None:
    names = write_bands(tmp_path)
    [failure] = cut(refer_stack([str(tmp_path / name) for name in names], Item("a", "")), NO_RENDERING)
    assert isinstance(failure, Failure)
    assert failure.message.endswith("; give --stretch LOW:HIGH")


def test_percentiles_are_those_of_each_file(tmp_path: Path) -> None:
    path = write_vrt(tmp_path / "scene.vrt", write_bands(tmp_path, 4, tile=64, nodata=0))
    said = Rendering((3, 2, 1), percentiles=((2, 98), (0, 100), (5, 95)))
    values = samples(170, 210, 4)
    ends = [
        np.percentile(band[band > 0], of_band, method="nearest").tolist()
        for band, of_band in zip(values[[2, 1, 0]], said.percentiles, strict=True)
    ]
    refs = cut(refer(str(path)), said)
    check_like_chips(path, read(refs, said), Rendering((3, 2, 1), tuple((low, high) for low, high in ends)))
    assert isinstance(refs[0], ImageRef)
    assert refs[0].window
    assert unpack_rendering(refs[0].window.rendering).stretch == tuple((low, high) for low, high in ends)


def test_no_virtual_raster_is_larger_than_numbers_are(tmp_path: Path) -> None:
    others = {'rasterXSize="210"': f'rasterXSize="{"9" * 400}"'}
    path = write_vrt(tmp_path / "scene.vrt", write_bands(tmp_path), **others)
    assert refused(path) == "VRT of more than 2,147,483,647 columns or rows"


def test_percentiles_from_overviews_leave_out_what_the_virtual_raster_calls_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.scenes.sampling._LEAST_PIXELS", 1)
    values = samples(160, 200, 3) + 500
    values[:, :, :100] = 0
    for name, band in zip(("r.tif", "g.tif", "b.tif"), values, strict=True):
        with rasterio.open(write_scene(tmp_path / name, band[np.newaxis], tile=32), "r+") as file:
            file.build_overviews([2], Resampling.nearest)
    path = write_vrt(tmp_path / "x.vrt", ["r.tif", "g.tif", "b.tif"], children="<NoDataValue>0</NoDataValue>")
    [window, *_] = cut(refer(str(path)), Rendering((1, 2, 3), percentiles=((0, 100),) * 3))
    assert isinstance(window, ImageRef)
    assert window.window
    assert all(low >= 500 for low, _ in unpack_rendering(window.window.rendering).stretch)


def write_sentinel_2(folder: Path, held: int, baselines: Sequence[str] = ("", "", ""), darkest: float = 0.005) -> Path:
    """Write red, green and blue as files of their own, in a scene large enough to show what its darkest values are."""
    reflectance = np.random.default_rng(0).uniform(darkest, 0.5, (3, 400, 400)) * [[[1]], [[0.9]], [[0.8]]]
    names = ["B04.tif", "B03.tif", "B02.tif"]
    for name, band, baseline in zip(names, reflectance, baselines, strict=True):
        write_scene(folder / name, np.rint(band * 10_000 + held).astype("uint16")[np.newaxis], tile=64)
        with rasterio.open(folder / name, "r+") as file:
            file.update_tags(**{"PROCESSING_BASELINE": baseline} if baseline else {})
    return write_vrt(folder / "scene.vrt", names)


@pytest.mark.parametrize(
    ("held", "baselines"), [(1000, ("", "", "")), (0, ("", "", "")), (1000, ("05.09",) * 3), (0, ("02.08",) * 3)]
)
def test_the_darkest_red_says_whether_bands_of_sentinel_2_hold_the_offset(
    held: int, baselines: Sequence[str], tmp_path: Path
) -> None:
    path = write_sentinel_2(tmp_path, held, baselines)
    said = Rendering((1, 2, 3), product="sentinel-2-l2a")
    shown = read(cut(refer(str(path)), said)[:2], said)
    fixed = Rendering((1, 2, 3), ((held, 3000 + held),) * 3)
    for window in shown:
        assert isinstance(window, Image)
        assert window.ref.window
        chip = decode_resized(cut_chip(path, window.ref.window[1:5]), DecodeSettings(48, "bilinear", MOST, fixed))
        assert np.array_equal(window.pixels, chip.pixels)
        assert window.repairs == (*["offset_removed"] * bool(held), "stretched")


def test_bands_of_which_only_some_say_that_they_hold_an_offset_are_refused(tmp_path: Path) -> None:
    said = Rendering((1, 2, 3), product="sentinel-2-l2a")
    reason = refused(write_sentinel_2(tmp_path, 1000, ("05.09", "", "05.09")), said)
    assert "B03.tif: TIFF that does not show whether its values hold the offset" in reason
    assert "only some hold an offset" in refused(write_sentinel_2(tmp_path, 0, ("", "05.09", "05.09")), said)


def test_a_file_that_names_its_band_otherwise_is_no_colour_of_a_product(tmp_path: Path) -> None:
    path = write_sentinel_2(tmp_path, 0)
    for name, said in (("B04.tif", "B4"), ("B03.tif", "green"), ("B02.tif", "B3, central wavelength 560 nm")):
        with rasterio.open(tmp_path / name, "r+") as file:
            file.set_band_description(1, said)
    reason = refused(path, Rendering((1, 2, 3), product="sentinel-2-l2a"))
    assert reason.startswith("B02.tif: TIFF whose band is named 'B3, central wavelength 560 nm', but blue of")
    assert len(cut(refer(str(path)), Rendering((1, 2, 3), ((0, 3000),) * 3))) == 49


def test_dry_soil_in_files_of_their_own_is_not_taken_for_the_offset(tmp_path: Path) -> None:
    said = Rendering((1, 2, 3), product="sentinel-2-l2a")
    reason = refused(write_sentinel_2(tmp_path, 0, darkest=0.11), said)
    assert "B02.tif: TIFF that does not show whether its values hold the offset" in reason


@pytest.mark.parametrize(
    ("held", "darkest", "baseline", "stated", "reason"),
    [
        (1000, 0.3, "", 1000, ""),
        (0, 0.3, "", 0, ""),
        (0, 0.005, "", 1000, "an offset of 1,000, but some of its values are too low for that"),
        (1000, 0.005, "05.09", 0, "an offset of 0, but whose metadata state 1,000"),
    ],
)
def test_what_a_stac_item_states_of_the_offset_counts_unless_the_files_contradict(
    held: int, darkest: float, baseline: str, stated: int, reason: str, tmp_path: Path
) -> None:
    write_sentinel_2(tmp_path, held, [baseline] * 3, darkest)
    said = Rendering(product="sentinel-2-l2a")
    listed = refer_stack([f"{tmp_path}/B0{number}.tif" for number in (4, 3, 2)], Item("a", "", stated))
    shown = cut(listed, said)
    if reason:
        assert isinstance(shown[0], Failure)
        assert reason in shown[0].message
    else:
        fixed = Rendering((1, 2, 3), ((held, 3000 + held),) * 3)
        check_like_chips(tmp_path / "scene.vrt", read(shown[:12], said), fixed, repairs=False)
