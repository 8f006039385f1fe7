"""Every repair of `images.decode` on files made in memory, its refusals, and other decoders where they are right."""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipelines.images import Decoded, DecodeSettings, ImageError, decode, decode_resized, resize
from pipelines.images.limits import RESIZE_FILTERS
from tests import ROOT
from tests import image_files as files

RGB = files.mosaic()
GRAY = files.mosaic(bands=1)[..., 0]
GRAY_RGB = np.dstack([GRAY] * 3)
RGBA = files.mosaic(bands=4)
DEEP_RGB, DEEP_GRAY = files.deep(RGB), files.deep(GRAY)
PALETTE = files.mosaic(1, 256, seed=3)[0, :: files.BLOCK]
LOSSLESS: dict[str, Any] = {"lossless": True, "exact": True}
BEST: dict[str, Any] = {"quality": 100, "subsampling": 0}
UNMARKED = ("unmarked_rgba_jpeg",)
MASKED = ("unmarked_rgba_jpeg", "alpha_dropped")


def assert_decodes(
    data: bytes, expected: NDArray[Any], source: str, repairs: Sequence[str] = (), *, within: int = 0
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode(data)
    assert (decoded.source, decoded.repairs) == (source, tuple(repairs))
    assert_close(decoded.pixels, expected, within)


def assert_close(pixels: NDArray[Any], expected: NDArray[Any], within: int = 0) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    difference = np.abs(pixels.astype(int) - expected.astype(int)).max()
    assert difference <= within, f"pixels differ by {difference} levels, more than {within}"


def assert_refused(data: bytes, reason: str, **options: int) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        decode(data, **options)
    assert "\n" not in str(caught.value)


# The formulas below are those of the standards, written without a look at any decoder.


def from_inks(inks: NDArray[Any]) -> NDArray[Any]:
    """Mix cyan, magenta, yellow and black (255 is full ink) into RGB."""
    return np.rint((255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255)


def from_ycc(stored: NDArray[Any]) -> NDArray[Any]:
    """Turn full-range YCbCr of ITU-R BT.601 into RGB, as JFIF says."""
    y, cb, cr = (stored[..., band].astype(float) for band in range(3))
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    return np.clip(np.rint(np.dstack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue])), 0, 255)


def to_eight_bits(deep: NDArray[Any]) -> NDArray[Any]:
    return np.rint(deep / 257)


# Nothing to repair


@pytest.mark.parametrize(
    ("data", "source", "within"),
    [
        (files.encode(RGB, "jpeg", **BEST), "jpeg 3x8", 1),
        (files.encode(RGB, "jpeg", progressive=True, **BEST), "jpeg 3x8", 1),
        (files.encode(RGB, "jpeg", restart_marker_blocks=3, **BEST), "jpeg 3x8", 1),
        (files.encode(RGB, "jpeg", quality=100, keep_rgb=True), "jpeg 3x8", 0),
        (files.png(RGB, "RGB"), "png 3x8", 0),
        (files.encode(RGB, "png"), "png 3x8", 0),
        (files.encode(RGB, "bmp"), "bmp 3x8", 0),
        (files.encode(RGB, "webp", **LOSSLESS), "webp 3x8", 0),
        (files.encode(RGB, "tiff", compression="tiff_lzw"), "tiff 3x8", 0),
        (files.encode(RGB, "tiff", compression="jpeg", quality=100), "tiff 3x8", 1),
    ],
)
def test_plain_rgb_needs_no_repair(data: bytes, source: str, within: int) -> None:
    assert_decodes(data, RGB, source, within=within)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
def test_every_kind_of_rgb_tiff_is_plain(order: str, big: bool, planar: bool, deflate: bool) -> None:
    data = files.tiff(RGB, files.RGB, order=order, big=big, planar=planar, deflate=deflate)
    if big and order == ">":
        assert_refused(data, "Pillow")
    else:
        assert_decodes(data, RGB, "tiff 3x8")


def test_decoded_pixels_cannot_be_changed() -> None:
    assert not decode(files.encode(RGB, "png")).pixels.flags.writeable


# Four components


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 6), columns=st.integers(1, 6))
def test_unmarked_rgba_gives_back_the_stored_rgb(seed: int, rows: int, columns: int) -> None:
    rgb = files.mosaic(rows, columns, seed=seed)
    assert_decodes(files.unmarked_rgba_jpeg(rgb), rgb, "jpeg 4x8", UNMARKED)


def test_an_unmarked_rgba_too_large_for_one_piece_of_memory_is_read_alike() -> None:
    rgb = np.tile(files.mosaic(10, 10), (27, 27, 1))
    pillow_splits_images_above = 2**24
    assert rgb.shape[0] * rgb.shape[1] * 4 > pillow_splits_images_above
    assert_decodes(files.unmarked_rgba_jpeg(rgb), rgb, "jpeg 4x8", UNMARKED)


@pytest.mark.parametrize("alignment", ["1", "64"])
def test_an_unmarked_rgba_is_right_however_pillow_aligns_rows(alignment: str, tmp_path: Path) -> None:
    rgb = files.mosaic(5, 3)
    (tmp_path / "x.jpg").write_bytes(files.unmarked_rgba_jpeg(rgb))
    program = (
        "import pathlib, sys; from pipelines.images import decode;"
        f"sys.stdout.buffer.write(decode(pathlib.Path({str(tmp_path / 'x.jpg')!r}).read_bytes()).pixels.tobytes())"
    )
    decoded = subprocess.check_output(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PILLOW_ALIGNMENT": alignment},
    )
    assert_close(np.frombuffer(decoded, np.uint8).reshape(rgb.shape), rgb)


@pytest.mark.parametrize("ids", [b"\0\1\2\3", b"\1\2\3\4", b"RGBA", b"CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_constant_fourth_component_decides_whatever_the_ids(ids: bytes, progressive: bool) -> None:
    stored = np.dstack([RGB, np.full(GRAY.shape, 255, np.uint8)])
    data = files.four_component_jpeg(stored, ids=ids, progressive=progressive)
    assert_decodes(data, RGB, "jpeg 4x8", UNMARKED)


def test_one_flat_colour_is_still_a_picture() -> None:
    flat = np.full_like(RGB, (10, 200, 30))
    assert_decodes(files.unmarked_rgba_jpeg(flat), flat, "jpeg 4x8", UNMARKED)


Y, X = np.mgrid[0 : GRAY.shape[0], 0 : GRAY.shape[1]]
MASKS = {
    "left edge": X >= 8,
    "frame": (X >= 8) & (X < 40) & (Y >= 8) & (Y < 24),
    "corner": X + Y >= 20,
    "disc": (X - 24) ** 2 + (Y - 16) ** 2 < 200,
    "hole": (X - 24) ** 2 + (Y - 16) ** 2 > 60,
    "slanted strip": np.abs(X - Y - 8) < 12,
    "one block": (X < 8) & (Y < 8),
    "all but one pixel": (X > 0) | (Y > 0),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("quality", [90, 100])
def test_a_masked_fourth_component_is_dropped(name: str, quality: int) -> None:
    mask = (MASKS[name] * 255).astype(np.uint8)
    rgb = files.picture(GRAY.shape[0], GRAY.shape[1], seed=1)
    data = files.unmarked_rgba_jpeg(rgb, mask, quality=quality)
    assert_decodes(data, stored_components(data)[..., :3], "jpeg 4x8", MASKED)
    assert_close(decode(data).pixels, rgb, 2 if quality == 100 else 12)


@given(
    mask=st.lists(st.sampled_from([0, 255]), min_size=24, max_size=24),
    seed=st.integers(0, 2**32 - 1),
    quality=st.integers(30, 100),
)
@example(mask=[0] * 24, seed=0, quality=100)
@example(mask=[255] * 23 + [0], seed=0, quality=30)
def test_masks_of_any_shape_give_the_stored_rgb_or_nothing(mask: list[int], seed: int, quality: int) -> None:
    fourth = np.array(mask, np.uint8).reshape(4, 6).repeat(8, axis=0).repeat(8, axis=1)
    data = files.unmarked_rgba_jpeg(files.mosaic(seed=seed), fourth, quality=quality)
    try:
        decoded = decode(data)
    except ImageError as error:
        assert sum(mask) <= 2 * 255, f"refused although much is visible: {error}"  # noqa: PT017
        return
    assert decoded.repairs in (UNMARKED, MASKED)
    assert_close(decoded.pixels, stored_components(data)[..., :3])


@pytest.mark.parametrize(
    "fourth",
    [np.zeros_like(GRAY), np.full_like(GRAY, 128), GRAY, (X * 255 / X.max()).astype(np.uint8)],
    ids=["all transparent", "half", "another picture", "slope"],
)
def test_a_fourth_component_that_is_no_mask_is_not_decided(fourth: NDArray[np.uint8]) -> None:
    assert_refused(files.unmarked_rgba_jpeg(RGB, fourth), "may be black ink, opacity or another band")


def test_a_file_that_says_cmyk_is_not_taken_for_a_masked_picture() -> None:
    # A picture printed over by black, as maps are: its fourth component looks like a mask.
    ink = np.zeros(RGB.shape[:2], np.uint8)
    ink[8:24, 8:32] = 255
    stored = np.dstack([RGB, ink])
    assert_refused(files.four_component_jpeg(stored, ids=b"CMYK"), "may be black ink, opacity or another band")
    assert decode(files.four_component_jpeg(stored, icc_profile=files.icc_cmyk())).repairs == ("cmyk", "icc_to_srgb")


@pytest.mark.parametrize("options", [{}, {"subsampling": 2}, {"subsampling": 1}, {"optimize": True}])
@pytest.mark.parametrize("size", [(48, 64), (37, 53)])
@pytest.mark.parametrize(
    "interval", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 1}, {"restart_marker_blocks": 7}]
)
def test_a_jpeg_with_a_lost_restart_interval_is_refused(
    options: dict[str, Any], size: tuple[int, int], interval: dict[str, int]
) -> None:
    for bands in (1, 3):
        whole = files.encode(files.picture(*size, bands=bands), "jpeg", **options, **interval)
        assert decode(whole).pixels.shape == (*size, 3)
        markers = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", whole)]
        for first, second in pairwise(markers):
            assert_refused(whole[:first] + whole[second:], "restart markers")
        assert_refused(whole[: markers[-1]] + b"\xff\xd9", "restart markers")


def test_black_text_on_a_flat_ground_is_no_masked_picture() -> None:
    flat = np.full_like(RGB, (0, 20, 60)) + RGB // 32
    assert_refused(files.unmarked_rgba_jpeg(flat, (MASKS["disc"] * 255).astype(np.uint8)), "may be black ink")


@given(seed=st.integers(0, 2**32 - 1))
def test_adobe_cmyk_is_stored_inverted(seed: int) -> None:
    stored = files.mosaic(bands=4, seed=seed)
    data = files.four_component_jpeg(stored, adobe=0)
    assert_decodes(data, from_inks(255 - stored), "jpeg 4x8", ["cmyk_inverted"], within=1)


@given(seed=st.integers(0, 2**32 - 1))
def test_adobe_ycck_is_inverted_cmyk_in_ycc(seed: int) -> None:
    stored = files.mosaic(bands=4, seed=seed)
    # T.872: what the first three components encode as YCbCr is RGB = 255 - CMY, of values that are inverted already.
    inks = np.dstack([from_ycc(stored), 255 - stored[..., 3]])
    assert_decodes(files.four_component_jpeg(stored, adobe=2), from_inks(inks), "jpeg 4x8", ["ycck"], within=1)


def test_ycck_that_was_converted_from_rgb_gives_that_rgb_back() -> None:
    rgb = files.picture()
    inks = 255 - rgb.astype(float)
    # Inverted inks are the RGB; in YCCK they are stored as the YCC of 255 minus themselves.
    y = inks @ [0.299, 0.587, 0.114]
    ycc = np.dstack([y, (inks[..., 2] - y) / 1.772 + 128, (inks[..., 0] - y) / 1.402 + 128])
    stored = np.dstack([np.clip(np.rint(ycc), 0, 255), np.full(y.shape, 255)]).astype(np.uint8)
    assert_close(decode(files.four_component_jpeg(stored, adobe=2)).pixels, rgb, 4)


@given(seed=st.integers(0, 2**32 - 1))
def test_cmyk_by_its_ids_is_not_inverted(seed: int) -> None:
    stored = files.mosaic(bands=4, seed=seed)
    data = files.four_component_jpeg(stored, ids=b"CMYK")
    assert_decodes(data, from_inks(stored), "jpeg 4x8", ["cmyk"], within=1)


def test_an_adobe_marker_with_an_impossible_transform_is_refused() -> None:
    assert_refused(files.four_component_jpeg(RGBA, adobe=1), "unknown Adobe transform 1")


def stored_components(data: bytes) -> NDArray[np.uint8]:
    """Read a 4-component JPEG's components by Pillow, which inverts them."""
    with Image.open(io.BytesIO(data)) as image:
        return 255 - np.asarray(image)


# Gray, deep, palettes, alpha


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (files.encode(GRAY, "jpeg", quality=100), "jpeg 1x8"),
        (files.png(GRAY, "L"), "png 1x8"),
        (files.tiff(GRAY, files.BLACK_IS_ZERO), "tiff 1x8"),
        (files.tiff(255 - GRAY, files.WHITE_IS_ZERO), "tiff 1x8"),
        (files.tiff(255 - GRAY, files.WHITE_IS_ZERO, deflate=True), "tiff 1x8"),
        (files.encode(GRAY, "bmp"), "bmp 1x8"),
    ],
)
def test_gray_is_the_same_in_all_channels(data: bytes, source: str) -> None:
    assert_decodes(data, GRAY_RGB, source, ["grayscale"])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_gray_levels_are_spread_over_all(bits: int) -> None:
    levels = GRAY % 2**bits
    expected = np.dstack([levels.astype(int) * 255 // (2**bits - 1)] * 3)
    assert_decodes(files.png(levels, "L", bits=bits), expected, f"png 1x{bits}", ["grayscale"])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_bitmap_tiff_is_black_and_white(order: str) -> None:
    data = files.tiff(GRAY > 127, files.BLACK_IS_ZERO, order=order)
    assert_decodes(data, (GRAY_RGB > 127) * 255, "tiff 1x1", ["grayscale"])
    data = files.tiff(GRAY > 127, files.WHITE_IS_ZERO, order=order)
    assert_decodes(data, (GRAY_RGB <= 127) * 255, "tiff 1x1", ["grayscale"])


EVERY_LEVEL = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (files.png(EVERY_LEVEL, "L"), "png 1x16"),
        (files.tiff(EVERY_LEVEL, files.BLACK_IS_ZERO), "tiff 1x16"),
        (files.tiff(EVERY_LEVEL, files.BLACK_IS_ZERO, order=">"), "tiff 1x16"),
        (files.tiff(EVERY_LEVEL, files.BLACK_IS_ZERO, deflate=True), "tiff 1x16"),
        (files.tiff(EVERY_LEVEL, files.BLACK_IS_ZERO, order=">", deflate=True), "tiff 1x16"),
        (files.tiff(EVERY_LEVEL, files.BLACK_IS_ZERO, big=True), "tiff 1x16"),
    ],
)
def test_sixteen_bit_gray_is_scaled_and_never_clipped(data: bytes, source: str) -> None:
    expected = np.dstack([to_eight_bits(EVERY_LEVEL)] * 3)
    assert_decodes(data, expected, source, ["depth_scaled", "grayscale"])


@pytest.mark.parametrize(
    ("mode", "repairs"),
    [
        ("RGB", ["depth_scaled"]),
        ("RGBA", ["depth_scaled", "alpha_dropped"]),
        ("LA", ["depth_scaled", "grayscale", "alpha_dropped"]),
    ],
)
def test_sixteen_bit_colour_png_is_scaled(mode: str, repairs: Sequence[str]) -> None:
    samples = files.deep(files.mosaic(8, 8, len(mode)))
    colours = samples[..., :3] if mode.startswith("RGB") else np.dstack([samples[..., 0]] * 3)
    assert_decodes(files.png(samples, mode), to_eight_bits(colours), f"png {len(mode)}x16", repairs, within=1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("transparency", "repairs"),
    [
        (None, ["palette"]),
        (b"\0", ["palette", "alpha_dropped"]),
        (b"\xff\0", ["palette", "alpha_dropped"]),
        (b"\x20\x80", ["palette", "alpha_dropped"]),
    ],
    ids=["opaque", "first", "second", "half"],
)
def test_a_png_palette_is_looked_up(bits: int, transparency: bytes | None, repairs: Sequence[str]) -> None:
    indices, palette = GRAY >> (8 - bits), PALETTE[: 2**bits]
    chunks = {b"PLTE": palette.tobytes()} | ({b"tRNS": transparency} if transparency else {})
    assert_decodes(files.png(indices, "P", bits=bits, chunks=chunks), palette[indices], f"png 1x{bits}", repairs)


def test_other_palettes_are_looked_up() -> None:
    image = Image.fromarray(RGB).quantize(16)
    colours = np.asarray(image.convert("RGB"))
    assert_decodes(files.encode(image, "gif"), colours, "gif 1x8", ["palette"])
    assert_decodes(files.encode(image, "gif", transparency=3), colours, "gif 1x8", ["palette", "alpha_dropped"])
    assert_decodes(files.encode(image, "bmp"), colours, "bmp 1x8", ["palette"])
    colour_map = [int(level) * 257 for level in PALETTE.T.ravel()]
    tiff = files.tiff(GRAY, files.PALETTE, tags={320: ("H", colour_map)})
    assert_decodes(tiff, PALETTE[GRAY], "tiff 1x8", ["palette"])


TRANSPARENT_GRAY = int(GRAY[0, 0]).to_bytes(2, "big")
TRANSPARENT_RGB = b"".join(int(level).to_bytes(2, "big") for level in RGB[0, 0])
OPACITY = {338: ("H", [2])}


@pytest.mark.parametrize(
    ("data", "expected", "source", "repairs"),
    [
        (files.png(RGBA, "RGBA"), RGBA[..., :3], "png 4x8", ["alpha_dropped"]),
        (files.png(RGB[..., :2], "LA"), RGB[..., [0, 0, 0]], "png 2x8", ["grayscale", "alpha_dropped"]),
        (files.png(RGB, "RGB", chunks={b"tRNS": TRANSPARENT_RGB}), RGB, "png 3x8", ["alpha_dropped"]),
        (files.png(GRAY, "L", chunks={b"tRNS": TRANSPARENT_GRAY}), GRAY_RGB, "png 1x8", ["grayscale", "alpha_dropped"]),
        (
            files.png(DEEP_GRAY, "L", chunks={b"tRNS": b"\0\1"}),
            to_eight_bits(np.dstack([DEEP_GRAY] * 3)),
            "png 1x16",
            ["depth_scaled", "grayscale", "alpha_dropped"],
        ),
        (files.encode(RGBA, "webp", **LOSSLESS), RGBA[..., :3], "webp 4x8", ["alpha_dropped"]),
        (files.tiff(RGBA, files.RGB, tags=OPACITY), RGBA[..., :3], "tiff 4x8", ["alpha_dropped"]),
        (files.tiff(RGBA, files.RGB, planar=True, tags=OPACITY), RGBA[..., :3], "tiff 4x8", ["alpha_dropped"]),
        (
            files.tiff(RGB[..., :2], files.BLACK_IS_ZERO, tags=OPACITY),
            RGB[..., [0, 0, 0]],
            "tiff 2x8",
            ["grayscale", "alpha_dropped"],
        ),
    ],
    ids=["png", "gray png", "rgb key", "gray key", "deep key", "webp", "tiff", "planar tiff", "gray tiff"],
)
def test_alpha_is_dropped(data: bytes, expected: NDArray[Any], source: str, repairs: Sequence[str]) -> None:
    assert_decodes(data, expected, source, repairs)


def test_premultiplied_alpha_is_divided_out() -> None:
    alpha = np.maximum(RGBA[..., 3:], 64)
    stored = np.rint(RGBA[..., :3] * (alpha / 255)).astype(np.uint8)
    data = files.tiff(np.dstack([stored, alpha]), files.RGB, tags={338: ("H", [1])})
    assert_decodes(data, stored * (255 / alpha), "tiff 4x8", ["alpha_dropped"], within=1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
def test_cmyk_tiff_is_mixed(order: str, planar: bool) -> None:
    data = files.tiff(RGBA, files.CMYK, order=order, planar=planar)
    assert_decodes(data, from_inks(RGBA), "tiff 4x8", ["cmyk"], within=1)


def test_ycbcr_tiff_is_converted() -> None:
    data = files.tiff(RGB, files.YCBCR, deflate=True, tags={530: ("H", [1, 1])})
    assert_decodes(data, from_ycc(RGB), "tiff 3x8", within=1)


# ICC profiles

WIDE = files.icc_rgb(1.8, [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)])
LINEAR_GRAY = files.icc_gray(1.0)
PRINTER = files.icc_cmyk()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def icc_chunk(profile: bytes) -> dict[bytes, bytes]:
    return {b"iCCP": b"profile\0\0" + zlib.compress(profile)}


def by_image_cms(samples: NDArray[np.uint8], mode: str, profile: bytes) -> NDArray[np.uint8]:
    image = Image.frombytes(mode, (samples.shape[1], samples.shape[0]), samples.tobytes())
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return np.asarray(converted)


WIDE_RGB = by_image_cms(RGB, "RGB", WIDE)


@pytest.mark.parametrize(
    ("data", "expected", "source", "repairs"),
    [
        (files.encode(RGB, "png", icc_profile=WIDE), WIDE_RGB, "png 3x8", ()),
        (files.encode(RGB, "webp", icc_profile=WIDE, **LOSSLESS), WIDE_RGB, "webp 3x8", ()),
        (files.encode(RGB, "tiff", icc_profile=WIDE), WIDE_RGB, "tiff 3x8", ()),
        (
            files.png(RGBA, "RGBA", chunks=icc_chunk(WIDE)),
            by_image_cms(RGBA[..., :3], "RGB", WIDE),
            "png 4x8",
            ["alpha_dropped"],
        ),
        (files.unmarked_rgba_jpeg(RGB, icc_profile=WIDE), WIDE_RGB, "jpeg 4x8", UNMARKED),
        (files.encode(GRAY, "png", icc_profile=WIDE), by_image_cms(GRAY_RGB, "RGB", WIDE), "png 1x8", ["grayscale"]),
        (
            files.encode(GRAY, "png", icc_profile=LINEAR_GRAY),
            by_image_cms(GRAY, "L", LINEAR_GRAY),
            "png 1x8",
            ["grayscale"],
        ),
        (
            files.encode(GRAY, "jpeg", quality=100, icc_profile=LINEAR_GRAY),
            by_image_cms(GRAY, "L", LINEAR_GRAY),
            "jpeg 1x8",
            ["grayscale"],
        ),
        (
            files.png(DEEP_GRAY, "L", chunks=icc_chunk(LINEAR_GRAY)),
            by_image_cms(to_eight_bits(DEEP_GRAY).astype(np.uint8), "L", LINEAR_GRAY),
            "png 1x16",
            ["depth_scaled", "grayscale"],
        ),
        (
            files.png(GRAY, "P", chunks={**icc_chunk(WIDE), b"PLTE": PALETTE.tobytes()}),
            by_image_cms(PALETTE[GRAY], "RGB", WIDE),
            "png 1x8",
            ["palette"],
        ),
        (
            files.four_component_jpeg(RGBA, adobe=0, icc_profile=PRINTER),
            by_image_cms(255 - RGBA, "CMYK", PRINTER),
            "jpeg 4x8",
            ["cmyk_inverted"],
        ),
        (
            files.four_component_jpeg(RGBA, icc_profile=PRINTER),
            by_image_cms(RGBA, "CMYK", PRINTER),
            "jpeg 4x8",
            ["cmyk"],
        ),
        (
            files.encode(Image.frombytes("CMYK", GRAY.shape[::-1], RGBA.tobytes()), "tiff", icc_profile=PRINTER),
            by_image_cms(RGBA, "CMYK", PRINTER),
            "tiff 4x8",
            ["cmyk"],
        ),
    ],
)  # fmt: skip
def test_a_profile_changes_colours_as_image_cms_says(
    data: bytes, expected: NDArray[np.uint8], source: str, repairs: Sequence[str]
) -> None:
    assert_decodes(data, expected, source, [*repairs, "icc_to_srgb"])


def test_the_profiles_of_these_tests_are_far_from_srgb() -> None:
    assert np.abs(WIDE_RGB.astype(int) - RGB).max() > 40
    assert np.abs(by_image_cms(GRAY, "L", LINEAR_GRAY).astype(int) - GRAY_RGB).max() > 40
    assert np.abs(by_image_cms(RGBA, "CMYK", PRINTER).astype(int) - from_inks(RGBA)).max() > 40


@pytest.mark.parametrize(
    ("data", "expected", "source", "repairs"),
    [
        (files.encode(RGB, "png", icc_profile=SRGB), RGB, "png 3x8", ()),
        (files.unmarked_rgba_jpeg(RGB, icc_profile=SRGB), RGB, "jpeg 4x8", UNMARKED),
        (files.encode(GRAY, "png", icc_profile=SRGB), GRAY_RGB, "png 1x8", ["grayscale"]),
        (files.encode(GRAY, "png", icc_profile=files.icc_gray_like_srgb(1024)), GRAY_RGB, "png 1x8", ["grayscale"]),
        (files.encode(GRAY, "png", icc_profile=files.icc_gray_like_srgb(16)), GRAY_RGB, "png 1x8", ["grayscale"]),
    ],
)
def test_an_srgb_profile_changes_nothing(
    data: bytes, expected: NDArray[np.uint8], source: str, repairs: Sequence[str]
) -> None:
    assert_decodes(data, expected, source, repairs)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (files.encode(RGB, "png", icc_profile=PRINTER), "RGB image with an ICC profile for CMYK"),
        (files.encode(RGB, "png", icc_profile=LINEAR_GRAY), "RGB image with an ICC profile for GRAY"),
        (files.encode(GRAY, "png", icc_profile=PRINTER), "L image with an ICC profile for CMYK"),
        (files.four_component_jpeg(RGBA, adobe=0, icc_profile=WIDE), "CMYK image with an ICC profile for RGB"),
        (files.unmarked_rgba_jpeg(RGB, icc_profile=PRINTER), "RGB image with an ICC profile for CMYK"),
        (files.encode(RGB, "png", icc_profile=WIDE.replace(b"RGB XYZ", b"Lab XYZ")), "ICC profile for nothing|Lab"),
        (files.encode(RGB, "png", icc_profile=b"no profile"), "profile"),
        (files.encode(RGB, "png", icc_profile=WIDE[:200]), "profile"),
        (files.encode(RGB, "png", icc_profile=WIDE.replace(b"gTRC", b"xTRC")), "transform"),
    ],
)
def test_a_profile_that_does_not_fit_or_is_damaged_is_refused(data: bytes, reason: str) -> None:
    assert_refused(data, reason)


# Orientation and frames


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("encode", "source", "further", "within"),
    [
        (lambda block: files.encode(RGB, "jpeg", exif=block, **BEST), "jpeg 3x8", (), 1),
        (lambda block: files.png(RGB, "RGB", chunks={b"eXIf": block[6:]}), "png 3x8", (), 0),
        (lambda block: files.encode(RGB, "webp", exif=block, **LOSSLESS), "webp 3x8", (), 0),
        (lambda block: files.unmarked_rgba_jpeg(RGB, exif=block), "jpeg 4x8", UNMARKED, 0),
    ],
    ids=["jpeg", "png", "webp", "unmarked rgba jpeg"],
)
def test_images_are_turned_upright(
    encode: Callable[[bytes], bytes], source: str, further: Sequence[str], within: int, orientation: int
) -> None:
    repairs = [*(["exif_rotated"] if orientation > 1 else []), *further]
    assert_decodes(encode(files.exif(orientation)), files.turned(RGB, orientation), source, repairs, within=within)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("deflate", [False, True])
def test_tiffs_are_turned_upright_once(orientation: int, pages: int, deflate: bool) -> None:
    tags = {274: ("H", [orientation])}
    repairs = [name for name, wanted in (("first_frame", pages > 1), ("exif_rotated", orientation > 1)) if wanted]
    data = files.tiff(RGB, files.RGB, pages=pages, deflate=deflate, tags=tags)
    assert_decodes(data, files.turned(RGB, orientation), "tiff 3x8", repairs)
    data = files.tiff(DEEP_GRAY, files.BLACK_IS_ZERO, order=">", pages=pages, deflate=deflate, tags=tags)
    upright = files.turned(to_eight_bits(np.dstack([DEEP_GRAY] * 3)), orientation)
    assert_decodes(data, upright, "tiff 1x16", [*repairs, "depth_scaled", "grayscale"])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    assert_decodes(files.png(RGB, "RGB", chunks={b"eXIf": files.exif(orientation)[6:]}), RGB, "png 3x8")


@pytest.mark.parametrize(
    ("format_name", "options", "source", "repairs", "within"),
    [
        ("tiff", {}, "tiff 3x8", ["first_frame"], 0),
        ("gif", {}, "gif 1x8", ["first_frame", "palette"], 0),
        ("webp", LOSSLESS, "webp 3x8", ["first_frame"], 0),
        ("png", {}, "png 3x8", ["first_frame"], 0),
        ("mpo", BEST, "jpeg 3x8", ["first_frame"], 1),
    ],
)
def test_the_first_of_several_frames_is_taken(
    format_name: str, options: dict[str, Any], source: str, repairs: Sequence[str], within: int
) -> None:
    others = [Image.fromarray(255 - RGB), Image.fromarray(RGB // 2)]
    data = files.encode(RGB, format_name, save_all=True, append_images=others, **options)
    assert_decodes(data, RGB, source, repairs, within=within)


# Too large, too short, damaged


@pytest.mark.parametrize("format_name", ["jpeg", "png", "tiff", "gif", "bmp", "webp"])
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 9_500), (8_001, 8_000)])
def test_a_bomb_is_refused_by_its_header(
    monkeypatch: pytest.MonkeyPatch, format_name: str, width: int, height: int
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the image was opened")

    monkeypatch.setattr(Image, "open", refuse)
    assert_refused(files.bomb(format_name, width, height), r"\d+ x \d+ pixels: more than the 64,000,000")


@pytest.mark.parametrize("format_name", ["jpeg", "png", "tiff", "gif", "bmp", "webp"])
def test_the_limit_on_pixels_is_the_callers(format_name: str) -> None:
    data = files.encode(RGB, format_name)
    assert decode(data, max_pixels=GRAY.size).pixels.shape == RGB.shape
    assert_refused(data, f"48 x 32 pixels: more than the {GRAY.size - 1:,}", max_pixels=GRAY.size - 1)


@pytest.mark.parametrize(
    "data", [files.bomb("gif", 0, 5), files.bomb("bmp", 5, 0), files.bomb("png", 0, 0), files.bomb("tiff", 0, 5)]
)
def test_an_image_without_pixels_is_refused(data: bytes) -> None:
    assert_refused(data, "no pixels at all")


VALID = {
    "jpeg": files.encode(files.picture(), "jpeg"),
    "progressive jpeg": files.encode(files.picture(), "jpeg", progressive=True),
    "gray jpeg": files.encode(files.picture(bands=1), "jpeg"),
    "unmarked rgba jpeg": files.unmarked_rgba_jpeg(files.picture(), quality=90),
    "cmyk jpeg": files.four_component_jpeg(files.picture(bands=4), adobe=0, quality=90, icc_profile=PRINTER),
    "turned jpeg": files.encode(files.picture(), "jpeg", exif=files.exif(6), icc_profile=WIDE),
    "mpo": files.encode(files.picture(), "mpo", save_all=True, append_images=[Image.fromarray(files.picture(seed=1))]),
    "png": files.encode(files.picture(), "png", icc_profile=WIDE),
    "deep png": files.png(files.deep(files.picture()), "RGB"),
    "palette png": files.png(GRAY, "P", chunks={b"PLTE": PALETTE.tobytes(), b"tRNS": bytes(range(99))}),
    "apng": files.encode(files.picture(), "png", save_all=True, append_images=[Image.fromarray(files.picture(seed=1))]),
    "tiff": files.tiff(files.picture(), files.RGB),
    "big tiff": files.tiff(files.picture(), files.RGB, big=True),
    "gray tiff": files.tiff(files.deep(GRAY), files.BLACK_IS_ZERO, order=">"),
    "packed tiff": files.tiff(files.picture(), files.RGB, deflate=True),
    "pages": files.tiff(files.picture(), files.RGB, pages=2, tags={274: ("H", [6])}),
    "gif": files.encode(files.picture(), "gif"),
    "moving gif": files.encode(GRAY, "gif", save_all=True, append_images=[Image.fromarray(255 - GRAY)]),
    "bmp": files.encode(files.picture(), "bmp"),
    "webp": files.encode(files.picture(), "webp", exif=files.exif(3)),
    "lossless webp": files.encode(files.picture(bands=4), "webp", **LOSSLESS),
}  # fmt: skip


def decode_or_refuse(data: bytes) -> Decoded | None:
    """Decode to an image or to an `ImageError`; anything else fails the test."""
    try:
        decoded = decode(data, max_pixels=200_000)
    except ImageError as error:
        assert str(error).strip(), "a refusal says why"  # noqa: PT017
        assert not re.search("0x[0-9a-f]{6}", str(error)), f"an address in memory: {error}"  # noqa: PT017
        return None
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.ndim == 3
    assert decoded.pixels.shape[2] == 3
    assert decoded.pixels.size > 0
    return decoded


@pytest.mark.parametrize("name", VALID)
def test_a_file_cut_short_is_refused(name: str) -> None:
    data = VALID[name]
    whole = decode(data)
    lengths = {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}
    for length in sorted(lengths):
        decoded = decode_or_refuse(data[:length])
        if decoded is not None:
            assert np.array_equal(decoded.pixels, whole.pixels), f"other pixels from {length} of {len(data)} bytes"


JPEGS = [name for name in VALID if name.endswith("jpeg")]


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_cut_short_is_refused_even_with_its_end_marked(name: str) -> None:
    data = VALID[name]
    whole = decode(data).pixels.astype(int)
    start = data.index(b"\xff\xda", data.index(b"\xff\xc2" if "progressive" in name else b"\xff\xc0")) + 30
    for length in range(start, len(data) - 2, 7):
        decoded = decode_or_refuse(data[:length] + b"\xff\xd9")
        if decoded is not None:
            # libjpeg makes up what is missing of the last unit it has begun, and that leaves no trace.
            wrong = np.abs(decoded.pixels - whole).max(axis=-1) > 16
            assert wrong.mean() < 0.1, f"{wrong.mean():.0%} of the pixels are made up, of {length} bytes"


@pytest.mark.parametrize("gray", [127, 128])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_may_end_in_middle_gray(gray: int, progressive: bool) -> None:
    rgb = RGB.copy()
    rgb[8:] = gray
    assert_decodes(files.unmarked_rgba_jpeg(rgb, progressive=progressive), rgb, "jpeg 4x8", UNMARKED)
    assert_close(decode(files.encode(rgb, "jpeg", progressive=progressive, **BEST)).pixels, rgb, 1)
    assert_close(
        decode(files.encode(rgb[..., 0], "jpeg", progressive=progressive, quality=100)).pixels, rgb[..., [0] * 3]
    )


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty file"), (b"a text named .jpg\n", "no image"), (bytes(1000), "no image")]
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    assert_refused(data, reason)


SIGNATURES = (
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"GIF89a",
    b"BM",
    b"RIFF....WEBP",
)


@settings(max_examples=200)
@given(start=st.sampled_from(SIGNATURES), data=st.binary(max_size=300))
def test_random_bytes_are_refused(start: bytes, data: bytes) -> None:
    assert decode_or_refuse(start + data) is None


@pytest.mark.parametrize("name", VALID)
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_decoded_or_refused(name: str, data: st.DataObject) -> None:
    content = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 4), label="damages")):
        # Damage is worth most in headers, which are short.
        reach = data.draw(st.sampled_from([32, 256, len(content)]), label="reach")
        at = data.draw(st.integers(0, min(reach, len(content)) - 1), label="at")
        kind = data.draw(st.sampled_from(["change", "insert", "remove", "zero"]), label="kind")
        some = data.draw(st.binary(min_size=1, max_size=4), label="bytes")
        if kind == "insert":
            content[at:at] = some
        elif kind == "remove":
            del content[at : at + len(some)]
        else:
            content[at : at + len(some)] = some if kind == "change" else bytes(len(some))
        assume(content)
    decoded = decode_or_refuse(bytes(content))
    assert decoded is None or decoded.pixels.dtype == np.uint8


@pytest.mark.parametrize("name", ["png", "deep png"])
@settings(max_examples=100)
@given(data=st.data())
def test_a_png_with_damaged_pixels_never_passes(name: str, data: st.DataObject) -> None:
    content = bytearray(VALID[name])
    first = content.index(b"IDAT") + 4
    at = data.draw(st.integers(first, first + int.from_bytes(content[first - 8 : first - 4], "big") - 1), label="at")
    content[at] ^= data.draw(st.integers(1, 255), label="bits")
    assert decode_or_refuse(bytes(content)) is None


def test_damaged_files_print_nothing() -> None:
    gif = bytearray(files.encode(RGB, "gif"))
    frame = gif.rindex(b",\0\0\0\0") + 5
    gif[frame : frame + 4] = struct.pack("<HH", 10_000, 9_500)
    # Of each of these Pillow warns.
    damaged = [
        bytes(gif),
        files.tiff(RGB, files.RGB, big=True, order=">"),
        files.encode(RGB, "jpeg", exif=files.exif(6)[:18]),
        files.png(RGB, "RGB", chunks={b"acTL": bytes(8)}),
        *VALID.values(),
    ]
    rng = np.random.default_rng(0)
    for name, data in VALID.items():
        for at in rng.integers(0, min(len(data), 300), 12):
            # libtiff itself, below Pillow, writes of damage in what it unpacks; nobody can ask it not to.
            if name != "packed tiff":
                damaged.append(data[:at] + bytes(3) + data[at + 3 :])
    script = (
        "import sys; from pipelines.images import ImageError, decode\n"
        "from pipelines.images.decoding import ignore_metadata_warnings\n"
        "ignore_metadata_warnings()\n"
        "for line in sys.stdin:\n"
        "    try: decode(bytes.fromhex(line), max_pixels=200_000)\n"
        "    except ImageError: pass\n"
    )
    command = [sys.executable, "-c", script]
    text = "\n".join(data.hex() for data in damaged)
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Other decoders

ORDINARY = {
    "jpeg": files.encode(files.picture(), "jpeg", quality=90),
    "jpeg 4:4:4": files.encode(files.picture(), "jpeg", quality=90, subsampling=0),
    "jpeg of odd size": files.encode(files.picture(37, 53), "jpeg", quality=85),
    "progressive jpeg": files.encode(files.picture(), "jpeg", progressive=True),
    "gray jpeg": files.encode(files.picture(bands=1), "jpeg"),
    "rgb jpeg": files.encode(files.picture(), "jpeg", keep_rgb=True),
    "png": files.encode(files.picture(), "png"),
    "gray png": files.encode(files.picture(bands=1), "png"),
    "bitmap png": files.png(GRAY % 2, "L", bits=1),
    "palette png": files.png(GRAY, "P", chunks={b"PLTE": PALETTE.tobytes()}),
    "rgba png": files.png(RGBA, "RGBA"),
    "deep png": files.png(DEEP_RGB, "RGB"),
    "deep gray png": files.png(DEEP_GRAY, "L"),
    "bmp": files.encode(files.picture(), "bmp"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_tensorflow_agrees_on_ordinary_files(tensorflow: Any, name: str) -> None:
    channels = 4 if name == "rgba png" else 3
    # TensorFlow's default is a faster and coarser transform than libjpeg's own.
    if "jpeg" in name:
        pixels = tensorflow.io.decode_jpeg(ORDINARY[name], channels=3, dct_method="INTEGER_ACCURATE").numpy()
    else:
        pixels = tensorflow.io.decode_image(ORDINARY[name], channels=channels).numpy()
    assert_close(decode(ORDINARY[name]).pixels, pixels[..., :3], 1)


@pytest.mark.parametrize("name", [name for name in ORDINARY if "jpeg" in name])
def test_djpeg_agrees_on_ordinary_jpegs(name: str) -> None:
    djpeg = shutil.which("djpeg")
    if djpeg is None:
        pytest.skip("djpeg is not installed: apt-get install libjpeg-turbo-progs")
    ppm = subprocess.run([djpeg, "-pnm"], input=ORDINARY[name], capture_output=True, check=True).stdout
    with Image.open(io.BytesIO(ppm)) as image:
        assert_close(decode(ORDINARY[name]).pixels, np.asarray(image.convert("RGB")), 1)


# Why there is a decoder of our own

ANALYTIC = files.tiff(files.deep(files.mosaic(bands=4)), files.RGB, tags={338: ("H", [2])})


def assert_tensorflow_sees_black(tensorflow: Any, data: bytes) -> None:
    for pixels in (tensorflow.io.decode_jpeg(data, channels=3), tensorflow.io.decode_image(data, channels=3)):
        assert not pixels.numpy().any()
    assert decode(data).pixels.any()


def assert_pillow_sees_eight_bit_rgba(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGBA"
    assert_refused(data, r"16-bit multi-band TIFF \(4 bands\)")


def test_tensorflow_decodes_unmarked_rgba_to_black(tensorflow: Any) -> None:
    assert_tensorflow_sees_black(tensorflow, files.unmarked_rgba_jpeg(files.picture()))


def test_pillow_opens_analytic_tiffs_as_eight_bit_rgba() -> None:
    assert_pillow_sees_eight_bit_rgba(ANALYTIC)


def test_tensorflow_decodes_real_chips_to_black(tensorflow: Any, planet: Path) -> None:
    assert_tensorflow_sees_black(tensorflow, (planet / "jpg" / "train_0.jpg").read_bytes())


def test_all_real_chips_decode_to_their_stored_rgb(planet: Path) -> None:
    paths = sorted((planet / "jpg").glob("*.jpg"))
    assert len(paths) == 20
    for path in paths:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        assert_decodes(path.read_bytes(), expected, "jpeg 4x8", UNMARKED)


def test_all_real_analytic_chips_are_refused(planet: Path) -> None:
    paths = sorted((planet / "tif").glob("*.tif"))
    assert len(paths) == 6
    for path in paths:
        assert_pillow_sees_eight_bit_rgba(path.read_bytes())


def test_a_generated_chip_is_built_as_a_real_one_is(planet: Path) -> None:
    real = files.jpeg_segments((planet / "jpg" / "train_0.jpg").read_bytes())
    made = files.jpeg_segments(files.unmarked_rgba_jpeg(files.picture(256, 256)))
    kinds = [{segment.marker for segment in chip} for chip in (real, made)]
    assert kinds[0] == kinds[1]
    layouts = [next(part.payload for part in chip if part.marker == 0xC0) for chip in (real, made)]
    # Each third byte after the ids and the sampling names a quantization table, which is the encoder's choice.
    assert layouts[0][:6] == layouts[1][:6]
    assert layouts[0][6::3] == layouts[1][6::3]
    assert layouts[0][7::3] == layouts[1][7::3]


# Resizing


@pytest.mark.parametrize("resize_filter", RESIZE_FILTERS)
@pytest.mark.parametrize("size", [1, 17, 64])
def test_resize_is_pillows_own(resize_filter: str, size: int) -> None:
    pixels = files.picture(48, 80)
    resized = resize(pixels, size, resize_filter)
    expected = Image.fromarray(pixels).resize((size, size), Image.Resampling[resize_filter.upper()])
    assert_close(resized, np.asarray(expected))
    assert resized.shape == (size, size, 3)


@pytest.mark.parametrize("resize_filter", RESIZE_FILTERS)
@pytest.mark.parametrize(
    "data",
    [
        files.unmarked_rgba_jpeg(RGB),
        files.encode(RGB, "png"),
        files.encode(GRAY, "tiff"),
        files.encode(files.picture(40, 40), "jpeg"),
    ],
)
def test_decoding_at_a_size_gives_the_pixels_of_decoding_and_resizing(data: bytes, resize_filter: str) -> None:
    decoded = decode(data)
    height, width = decoded.pixels.shape[:2]

    resized = decode_resized(data, DecodeSettings(40, resize_filter))

    assert_close(resized.pixels, resize(decoded.pixels, 40, resize_filter))
    assert resized[:4] == (width, height, decoded.source, decoded.repairs)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    pixels = files.picture(32, 32)
    assert resize(pixels, 32, "lanczos") is pixels


def test_making_an_image_smaller_averages_over_its_area() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for resize_filter in RESIZE_FILTERS:
        assert_close(resize(stripes, 8, resize_filter), np.full((8, 8, 3), 127.5), 12)


def test_an_unknown_filter_is_an_error() -> None:
    with pytest.raises(KeyError):
        resize(files.picture(), 8, "nearer")
