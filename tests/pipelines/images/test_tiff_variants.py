"""TIFFs that decoders read differently, or not at all, have the pixels that their writers meant."""

from __future__ import annotations

import io
import struct
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from pipelines.images import decode
from tests import image_files as files
from tests.image_files import Samples
from tests.pipelines.images.decoding import assert_decodes, assert_refused

GRAY = files.picture(bands=1)[..., 0]
RGB = files.picture()
GRAY_RGB = np.dstack([GRAY] * 3)
FORMS = list(product("<>", (False, True)))
PLANES, KIND = 284, 254


@pytest.mark.parametrize(("order", "big"), FORMS)
@pytest.mark.parametrize("deflate", [False, True])
def test_a_single_band_is_the_same_whatever_is_said_of_planes(order: str, big: bool, deflate: bool) -> None:
    tags = {PLANES: ("H", [2])}
    gray = files.tiff(GRAY, files.BLACK_IS_ZERO, order=order, big=big, deflate=deflate, tags=tags)
    assert_decodes(gray, GRAY_RGB, "tiff 1x8", ["grayscale"])
    inverted = files.tiff(255 - GRAY, files.WHITE_IS_ZERO, order=order, big=big, deflate=deflate, tags=tags)
    assert_decodes(inverted, GRAY_RGB, "tiff 1x8", ["grayscale"])
    bitmap = files.tiff(GRAY > 127, files.BLACK_IS_ZERO, order=order, big=big, deflate=deflate, tags=tags)
    assert_decodes(bitmap, (GRAY_RGB > 127) * 255, "tiff 1x1", ["grayscale"])
    deep = files.tiff(GRAY.astype(np.uint16) * 257, files.BLACK_IS_ZERO, order=order, big=big, tags=tags)
    assert_decodes(deep, GRAY_RGB, "tiff 1x16", ["depth_scaled", "grayscale"])


@pytest.mark.parametrize(("order", "big"), FORMS)
@pytest.mark.parametrize("scale", [1, 256, 257])
def test_a_colour_map_may_hold_levels_up_to_255(order: str, big: bool, scale: int) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    colour_map = {320: ("H", [int(level) * scale for level in palette.T.ravel()])}
    data = files.tiff(GRAY, files.PALETTE, order=order, big=big, tags=colour_map)
    assert_decodes(data, palette[GRAY], "tiff 1x8", ["palette"])


@pytest.mark.parametrize(("order", "big"), FORMS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("extra", [None, 0], ids=["unsaid", "unspecified"])
def test_a_fourth_band_is_left_out(order: str, big: bool, planar: bool, extra: int | None) -> None:
    bands = np.dstack([RGB, GRAY])
    tags = {} if extra is None else {338: ("H", [extra])}
    data = files.tiff(bands, files.RGB, order=order, big=big, planar=planar, tags=tags)
    assert_decodes(data, RGB, "tiff 4x8", ["extra_band_dropped"])


def named(*names: str, role: str = "description") -> dict[int, tuple[str, list[int]]]:
    """Write the tag by which GDAL names bands."""
    items = "".join(f'<Item name="X" sample="{band}" role="{role}">{name}</Item>' for band, name in enumerate(names))
    return {42112: ("B", list(f"<GDALMetadata>{items}</GDALMetadata>".encode()))}


@pytest.mark.parametrize(
    ("photometric", "role"), product((files.RGB, files.BLACK_IS_ZERO), ("description", "colorinterp"))
)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("names", "repairs"),
    [
        (("Red", "Green", "Blue"), []),
        (("blue", "green", "red"), ["bands_321"]),
        (("Band 2 (Blue)", "Band 3 (Green)", "Band 4 (Red)", "NIR"), ["bands_321", "extra_band_dropped"]),
        (("near_infrared", "red", "green", "blue"), ["bands_234", "extra_band_dropped"]),
        (("infra-red", "red", "green", "blue"), ["bands_234", "extra_band_dropped"]),
        (("nir08", "red", "green", "blue"), ["bands_234", "extra_band_dropped"]),
    ],
)
def test_bands_are_those_that_the_file_names(
    photometric: int, role: str, planar: bool, names: tuple[str, ...], repairs: list[str]
) -> None:
    colours = {"red": 0, "green": 1, "blue": 2}
    order = [next((at for colour, at in colours.items() if colour in name.lower()), 3) for name in names]
    bands = np.dstack([RGB, GRAY])[..., order]
    extra = {338: ("H", [0] * (len(names) - (3 if photometric == files.RGB else 1)))}
    tags = {**named(*names, role=role), **(extra if extra[338][1] else {})}
    assert_decodes(files.tiff(bands, photometric, planar=planar, tags=tags), RGB, f"tiff {len(names)}x8", repairs)


@pytest.mark.parametrize(
    "names",
    [
        *[("NIR", "Red", "Green"), ("blue", "x", "y"), ("NDVI", "", ""), ("red", "green", "mask")],
        *[("nir08", "red", "green"), ("NIR_1", "red", "green"), ("Infra Red", "red", "green"), ("SWIR2", "NIR", "red")],
        *[("near-IR", "", ""), ("lwir11", "", ""), ("", "", "DEM"), ("label", "", ""), ("Thermal", "", "")],
    ],
)
def test_bands_named_otherwise_than_decoders_show_them_are_refused(names: tuple[str, ...]) -> None:
    assert_refused(files.tiff(RGB, files.RGB, tags=named(*names)), "decoders show it as something else")


@pytest.mark.parametrize(
    "names",
    [
        *[("Band 1", "Band 2", "Band 3"), ("", "", ""), ("redundant", "greenhouse", "bluetooth")],
        *[("B1", "B2", "B3"), ("B4", "B3", "B2"), ("B04", "B03", "B02")],
    ],
)
def test_names_that_say_nothing_change_nothing(names: tuple[str, ...]) -> None:
    assert_decodes(files.tiff(RGB, files.RGB, tags=named(*names)), RGB, "tiff 3x8")


@pytest.mark.parametrize("names", [("B2", "B3", "B4"), ("B8", "B4", "B3"), ("B08", "B04", "B03"), ("B8A", "B5", "B4")])
def test_bands_numbered_as_no_satellite_numbers_red_green_and_blue_are_refused(names: tuple[str, ...]) -> None:
    assert_refused(files.tiff(RGB, files.RGB, tags=named(*names)), f"{', '.join(names)}: they may not be red")


@pytest.mark.parametrize(("kind", "repair"), [(2, "alpha_dropped"), (0, "extra_band_dropped")])
def test_what_follows_named_colours_is_what_the_last_of_the_further_bands_is_said_to_be(kind: int, repair: str) -> None:
    tags = {**named("red", "green", "blue", "", role="colorinterp"), 338: ("H", [0, 0, kind])}
    data = files.tiff(np.dstack([RGB, GRAY]), files.BLACK_IS_ZERO, tags=tags)
    assert_decodes(data, RGB, "tiff 4x8", [repair])


def test_letters_may_stand_for_colours() -> None:
    assert_decodes(files.tiff(RGB[..., ::-1], files.RGB, tags=named("B", "G", "R")), RGB, "tiff 3x8", ["bands_321"])


def test_a_band_without_a_description_is_what_gdal_takes_it_for() -> None:
    unnamed = "".join(f'<Item name="D" sample="{band}" role="description"></Item>' for band in range(3))
    [(tag, (code, text))] = named("Blue", "Green", "Red", role="colorinterp").items()
    both = bytes(text).replace(b"<GDALMetadata>", b"<GDALMetadata>" + unnamed.encode())
    data = files.tiff(RGB[..., ::-1], files.RGB, tags={tag: (code, list(both))})
    assert_decodes(data, RGB, "tiff 3x8", ["bands_321"])


@pytest.mark.parametrize(
    "name", ["NDVI", "Land cover classes", "elevation", "cloud_mask", "DEM", "Probability", "slope"]
)
def test_a_single_band_that_is_no_picture_is_refused(name: str) -> None:
    assert_refused(files.tiff(GRAY, files.BLACK_IS_ZERO, tags=named(name)), f"named '{name}': it is not a picture")


@pytest.mark.parametrize("name", ["", "Gray", "Panchromatic", "Band 1", "red", "masked Landsat"])
def test_a_single_band_with_another_name_is_gray(name: str) -> None:
    data = files.tiff(GRAY, files.BLACK_IS_ZERO, tags=named(name))
    assert_decodes(data, GRAY_RGB, "tiff 1x8", ["grayscale"])


SMALL = RGB[::2, ::2]


@pytest.mark.parametrize(
    ("pictures", "shown", "repairs"),
    [
        ([(RGB, 0), (SMALL, 0)], RGB, ["first_frame"]),
        ([(RGB, 0), (SMALL, 1), (SMALL, 5)], RGB, []),
        ([(RGB, 0), (SMALL, 1), (RGB, 4), (SMALL, 5)], RGB, ["mask_dropped"]),
        ([(SMALL, 1), (RGB, 0)], RGB, []),
        ([(SMALL, 4), (SMALL, 1), (RGB, 0), (SMALL, 0)], RGB, ["first_frame", "mask_dropped"]),
        ([(SMALL, 1)], SMALL, []),
    ],
    ids=["pages", "overviews", "overviews and masks", "thumbnail first", "all", "thumbnail alone"],
)
def test_overviews_and_masks_are_not_the_image(
    pictures: list[tuple[Samples, int]], shown: Samples, repairs: list[str]
) -> None:
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for samples, kind in pictures:
            Image.fromarray(samples).save(writer, "tiff", tiffinfo={KIND: kind})
            writer.newFrame()
    assert_decodes(buffer.getvalue(), shown, "tiff 3x8", repairs)


def test_a_thumbnail_in_front_of_a_directory_below_it_is_refused() -> None:
    data = files.tiff(RGB, files.RGB, tags={KIND: ("I", [1]), 330: ("I", [8])})
    assert_refused(data, "TIFF of a thumbnail")


def sparse(compression: str, missing: int, value: int = 0, **options: Any) -> tuple[bytes, Samples]:
    """Write a TIFF in strips and leave one out; return it, and the picture with a value in place of that strip."""
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "tiff", compression=compression, **options)
    data = buffer.getvalue()
    with Image.open(buffer) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        for tag in (273, 279):
            values = image.tag_v2[tag]
            codes = [code for code in "IH" if struct.pack(f"<{len(values)}{code}", *values) in data]
            without = list(values)
            without[missing] = 0
            form = f"<{len(values)}{codes[0]}"
            data = data.replace(struct.pack(form, *values), struct.pack(form, *without))
    left = RGB.copy()
    left[8 * missing : 8 * missing + 8] = value
    return data, left


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "lzma", "zstd"]
)
@pytest.mark.parametrize("missing", [0, 3, 5])
def test_what_a_sparse_tiff_leaves_out_is_black(compression: str, missing: int) -> None:
    data, left = sparse(compression, missing, tiffinfo={278: 8})
    assert_decodes(data, left, "tiff 3x8")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_what_a_sparse_tiff_leaves_out_has_the_value_of_no_data(compression: str, predictor: int) -> None:
    data, left = sparse(compression, 2, 200, tiffinfo={278: 8, 317: predictor, 42113: "200"})
    assert_decodes(data, left, "tiff 3x8", ["no_data_kept"])


DARK = np.minimum(files.deep(files.mosaic(8, 8, 1))[..., 0] // 6, 12_000)


@pytest.mark.parametrize("kind", ["tiff", "png", "colour png"])
def test_sixteen_bits_of_an_unknown_range_are_refused(kind: str) -> None:
    data = {
        "tiff": files.tiff(DARK, files.BLACK_IS_ZERO),
        "png": files.png(DARK, "L"),
        "colour png": files.png(np.dstack([DARK] * 3), "RGB"),
    }
    assert_refused(data[kind], "it is unknown how bright white is")


def test_sixteen_bits_of_a_png_that_says_how_many_it_had_are_dark() -> None:
    data = files.png(DARK, "L", chunks={b"sBIT": bytes([12])})
    assert decode(data).repairs == ("depth_scaled", "grayscale")


@pytest.mark.parametrize(("mode", "bands"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
@pytest.mark.parametrize("bits", [16, 12, 0])
def test_sixteen_bits_of_a_png_that_were_not_scaled_are_refused(mode: str, bands: int, bits: int) -> None:
    # Twelve bits as a sensor has them.
    samples = np.minimum(np.dstack([DARK] * bands), 4095)
    samples[..., -1:] = 65535 if bands in (2, 4) else samples[..., -1:]
    data = files.png(samples if bands > 1 else samples[..., 0], mode, chunks={b"sBIT": bytes([bits] * bands)})
    assert_refused(data, "it is unknown how bright white is")
