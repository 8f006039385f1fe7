"""Samples of TIFFs are what their tags say, in whatever numbers, places and orders they are stored."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.images import decode
from tests import image_files as files
from tests.pipelines.images import tiff_files
from tests.pipelines.images.decoding import assert_decodes, assert_refused, from_inks
from tests.pipelines.images.tiff_files import BITS, COMPRESSION, EXTRA, FILL_ORDER, NO_DATA

RGB = files.picture()
GRAY = files.picture(bands=1)[..., 0]
GRAY_RGB = np.dstack([GRAY] * 3)
OPACITY = np.broadcast_to(np.linspace(40, 255, GRAY.shape[1]).astype(np.uint8), GRAY.shape)
UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2
PLANAR = pytest.mark.parametrize("planar", [False, True], ids=["by pixel", "by band"])
CODED = pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])


def multiplied(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    opacity = OPACITY.astype(int).reshape(*OPACITY.shape, *[1] * (colours.ndim - 2))
    return np.dstack([(colours * opacity + 127) // 255, OPACITY]).astype(np.uint8)


@PLANAR
@CODED
@pytest.mark.parametrize("order", "<>")
def test_a_multiplication_by_opacity_is_undone(planar: bool, deflate: bool, order: str) -> None:
    tags = {EXTRA: ("H", [PREMULTIPLIED])}
    options: dict[str, Any] = {"planar": planar, "deflate": deflate, "order": order, "tags": tags}
    # A level of a product is up to 255 / 40 levels of the colour.
    gray = files.tiff(multiplied(GRAY), files.BLACK_IS_ZERO, **options)
    assert_decodes(gray, GRAY_RGB, "tiff 2x8", ["grayscale", "alpha_dropped"], within=4)
    colour = files.tiff(multiplied(RGB), files.RGB, **options)
    assert_decodes(colour, RGB, "tiff 4x8", ["alpha_dropped"], within=4)


@PLANAR
@CODED
@pytest.mark.parametrize("photometric", [files.BLACK_IS_ZERO, files.WHITE_IS_ZERO])
def test_opacity_beside_gray_is_left_out(planar: bool, deflate: bool, photometric: int) -> None:
    stored = np.dstack([255 - GRAY if photometric == files.WHITE_IS_ZERO else GRAY, OPACITY])
    data = files.tiff(stored, photometric, planar=planar, deflate=deflate, tags={EXTRA: ("H", [ALPHA])})
    assert_decodes(data, GRAY_RGB, "tiff 2x8", ["grayscale", "alpha_dropped"])


@PLANAR
@CODED
@pytest.mark.parametrize(
    ("kinds", "repairs"),
    [
        ([ALPHA], ["alpha_dropped"]),
        ([UNSPECIFIED], ["extra_band_dropped"]),
        ([], ["extra_band_dropped"]),
        ([UNSPECIFIED, ALPHA], ["extra_band_dropped", "alpha_dropped"]),
    ],
)
@pytest.mark.parametrize("photometric", [files.CMYK, files.RGB])
def test_bands_behind_the_colours_are_left_out(
    planar: bool, deflate: bool, kinds: Sequence[int], repairs: Sequence[str], photometric: int
) -> None:
    colours = files.picture(bands=4 if photometric == files.CMYK else 3)
    stored = np.dstack([colours, *[OPACITY] * max(1, len(kinds))])
    tags = {EXTRA: ("H", kinds)} if kinds else {}
    data = files.tiff(stored, photometric, planar=planar, deflate=deflate, tags=tags)
    shown = from_inks(colours) if photometric == files.CMYK else colours
    named = ["cmyk"] * (photometric == files.CMYK) + list(repairs)
    assert_decodes(data, shown, f"tiff {stored.shape[2]}x8", named, within=1)


@PLANAR
@pytest.mark.parametrize("kinds", [[ALPHA], [PREMULTIPLIED], [UNSPECIFIED], []])
def test_a_band_behind_a_palette_is_left_out(planar: bool, kinds: Sequence[int]) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    tags = {320: ("H", [int(level) * 257 for level in palette.T.ravel()]), **({EXTRA: ("H", kinds)} if kinds else {})}
    data = files.tiff(np.dstack([GRAY, OPACITY]), files.PALETTE, planar=planar, tags=tags)
    name = "extra_band_dropped" if not any(kinds) else "alpha_dropped"
    assert_decodes(data, palette[GRAY], "tiff 2x8", ["palette", name])


@pytest.mark.parametrize(
    ("samples", "photometric", "tags", "reason"),
    [
        (np.dstack([RGB, GRAY, GRAY]), files.CMYK, {EXTRA: ("H", [PREMULTIPLIED])}, "CMYK multiplied by opacity"),
        (multiplied(GRAY), files.WHITE_IS_ZERO, {EXTRA: ("H", [PREMULTIPLIED])}, "zero is white, multiplied"),
        (np.dstack([RGB] * 3), files.RGB, {}, "9-band TIFF in RGB: 6 bands besides the colours are not supported"),
        (np.dstack([GRAY, GRAY]), files.BLACK_IS_ZERO, {EXTRA: ("H", [UNSPECIFIED])}, "its colours are ambiguous"),
        (GRAY, files.PALETTE, {320: ("H", [0] * 48)}, "a colour map of 48 values instead of 768"),
        (GRAY, files.PALETTE, {}, "a colour map of 0 values instead of 768"),
        (GRAY.astype(np.uint16), files.PALETTE, {}, "TIFF in palette with samples of 16 bits is not supported"),
        (RGB > 127, files.RGB, {}, "TIFF in RGB with samples of 1 bit is not supported"),
        (RGB.astype(np.float32), files.RGB, {339: ("H", [3] * 3)}, "floating-point samples of 32 bits"),
        (RGB.astype(np.int16), files.RGB, {339: ("H", [2] * 3)}, "signed samples of 16 bits"),
        (GRAY, 32844, {}, "photometric interpretation LogL is not supported"),
        (GRAY, files.BLACK_IS_ZERO, {277: ("I", [4_000_000_000])}, "4000000000-band TIFF"),
        (GRAY, files.RGB, {277: ("I", [4_000_000_000])}, "4000000000-band TIFF"),
        (GRAY, files.BLACK_IS_ZERO, {277: ("H", [0])}, "0-band TIFF"),
    ],
)
def test_samples_that_are_not_read_are_refused_for_what_they_are(
    samples: NDArray[Any], photometric: int, tags: Any, reason: str
) -> None:
    assert_refused(files.tiff(samples, photometric, tags=tags), reason)


@pytest.mark.parametrize(
    "tags",
    [
        {BITS: ("H", [8])},
        {BITS: ("H", [8, 8, 8, 1])},
        {339: ("H", [4, 4, 4])},
        {339: ("H", [1])},
        {339: ("H", [1, 1, 1, 3])},
        {EXTRA: ("H", [UNSPECIFIED])},
        {EXTRA: ("H", [ALPHA])},
        {FILL_ORDER: ("H", [0])},
        {FILL_ORDER: ("B", [1])},
    ],
)
def test_too_few_too_many_or_undefined_values_of_a_tag_change_nothing(tags: Any) -> None:
    assert_decodes(files.tiff(RGB, files.RGB, tags=tags), RGB, "tiff 3x8")


REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


@PLANAR
@pytest.mark.parametrize("kind", "BHI")
def test_bytes_may_have_their_lowest_bit_first(planar: bool, kind: str) -> None:
    tags = {FILL_ORDER: (kind, [2])}
    assert_decodes(files.tiff(REVERSED[RGB], files.RGB, planar=planar, tags=tags), RGB, "tiff 3x8")
    coded = REVERSED[np.frombuffer(zlib.compress(RGB.tobytes()), np.uint8)].tobytes()
    packed = tiff_files.of_strips([coded], RGB.shape, files.RGB, {COMPRESSION: ("H", [8]), **tags})
    assert_decodes(packed, RGB, "tiff 3x8")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [files.WHITE_IS_ZERO, files.BLACK_IS_ZERO, files.PALETTE])
@pytest.mark.parametrize("fill_order", [1, 2])
def test_samples_of_few_bits_are_read_from_either_end_of_a_byte(bits: int, photometric: int, fill_order: int) -> None:
    most = (1 << bits) - 1
    indices = (GRAY >> (8 - bits)).astype(np.uint8)
    packed = np.packbits(np.unpackbits(indices[..., None], axis=-1)[..., 8 - bits :].reshape(len(GRAY), -1), axis=1)
    palette = np.random.default_rng(0).integers(0, 256, (most + 1, 3), np.uint8)
    colour_map = {320: ("H", [int(level) * 257 for level in palette.T.ravel()])} if photometric == files.PALETTE else {}
    data = tiff_files.of_strips(
        [(REVERSED[packed] if fill_order == 2 else packed).tobytes()],
        GRAY.shape,
        photometric,
        {BITS: ("H", [bits]), FILL_ORDER: ("H", [fill_order]), **colour_map},
    )
    levels = np.rint(indices * (255 / most))
    shown = 255 - levels if photometric == files.WHITE_IS_ZERO else levels
    expected = palette[indices] if colour_map else np.dstack([shown] * 3)
    assert_decodes(data, expected, f"tiff 1x{bits}", ["palette" if colour_map else "grayscale"])


@pytest.mark.parametrize(
    ("samples", "photometric", "value", "repairs"),
    [
        (RGB, files.RGB, "200", []),
        (GRAY, files.BLACK_IS_ZERO, "200", ["grayscale"]),
        (GRAY, files.WHITE_IS_ZERO, "200", ["grayscale"]),
        (files.deep(GRAY), files.BLACK_IS_ZERO, "51400", ["depth_scaled", "grayscale"]),
        (GRAY > 99, files.BLACK_IS_ZERO, "1", ["grayscale"]),
        (np.dstack([RGB, GRAY]), files.RGB, "200.0", ["extra_band_dropped"]),
    ],
)
def test_pixels_without_data_are_kept_and_named(
    samples: NDArray[Any], photometric: int, value: str, repairs: Sequence[str]
) -> None:
    tags = {NO_DATA: ("B", list(value.encode() + b"\0"))}
    level = np.array(int(float(value))).astype(samples.dtype)
    other = np.array(int(level) - 1).astype(samples.dtype)
    without = np.where(samples == level, other, samples)
    assert decode(files.tiff(without, photometric, tags=tags)).repairs == tuple(repairs)
    lacking = without.copy()
    lacking[5, 7] = level
    named = decode(files.tiff(lacking, photometric, tags=tags))
    assert named.repairs == ("no_data_kept", *repairs)
    plain = decode(files.tiff(lacking, photometric))
    assert plain.repairs == tuple(repairs)
    assert np.array_equal(named.pixels, plain.pixels)


@pytest.mark.parametrize("value", ["-9999", "nan", "1e400", "256", "3.5", "", "none"])
def test_a_value_that_no_sample_can_have_stands_for_nothing(value: str) -> None:
    tags = {NO_DATA: ("B", list(value.encode() + b"\0"))}
    assert_decodes(files.tiff(RGB, files.RGB, tags=tags), RGB, "tiff 3x8")


@pytest.mark.parametrize("tags", [{}, {NO_DATA: ("B", list(b"65535\0"))}, {NO_DATA: ("B", list(b"40000\0"))}])
def test_white_where_there_is_no_data_does_not_tell_how_bright_white_is(tags: Any) -> None:
    dark = GRAY.astype(np.uint16) * 30
    dark[:, :9] = 40_000 if b"40000" in bytes(tags.get(NO_DATA, ("", b""))[1]) else 65_535
    assert_refused(files.tiff(dark, files.BLACK_IS_ZERO, tags=tags), "it is unknown how bright white is")


def test_sixteen_bits_of_black_and_white_alone_are_a_picture() -> None:
    data = files.tiff((GRAY > 127) * np.uint16(65_535), files.BLACK_IS_ZERO)
    assert_decodes(data, (GRAY_RGB > 127) * 255, "tiff 1x16", ["depth_scaled", "grayscale"])
