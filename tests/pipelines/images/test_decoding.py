"""`images.decode` of plain, gray, deep, palette and transparent files gives the colours that were stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.images import decode
from tests import image_files as files
from tests.pipelines.images.decoding import (
    BEST,
    DEEP_GRAY,
    GRAY,
    GRAY_RGB,
    LOSSLESS,
    PALETTE,
    RGB,
    RGBA,
    assert_decodes,
    from_inks,
    from_ycc,
    to_eight_bits,
)

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
    assert_decodes(data, RGB, "tiff 3x8")


def test_offsets_of_tiles_may_be_written_as_those_of_strips() -> None:
    tile = files.picture(16, 16)
    assert_decodes(files.tiff(tile, files.RGB, tags={322: ("H", [16]), 323: ("H", [16])}), tile, "tiff 3x8")


def test_decoded_pixels_cannot_be_changed() -> None:
    assert not decode(files.encode(RGB, "png")).pixels.flags.writeable


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


def test_transparency_that_is_damaged_changes_no_colour() -> None:
    data = files.png(RGB, "RGB", chunks={b"tRNS": TRANSPARENT_RGB})
    place = data.index(b"tRNS") + 4
    assert_decodes(data[:place] + b"\1" + data[place + 1 :], RGB, "png 3x8")
    for length in (0, 2, 5, 7, 300):
        assert_decodes(files.png(RGB, "RGB", chunks={b"tRNS": bytes(length)}), RGB, "png 3x8")
    late = files.png(RGB, "RGB").replace(files.png_chunk(b"IEND", b""), files.png_chunk(b"tRNS", b"\0"))
    assert_decodes(late + files.png_chunk(b"IEND", b""), RGB, "png 3x8")


def test_an_animation_without_its_length_is_none() -> None:
    assert_decodes(files.png(RGB, "RGB", chunks={b"acTL": b"\0"}), RGB, "png 3x8")


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
