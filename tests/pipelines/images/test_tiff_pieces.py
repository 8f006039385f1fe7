"""Strips and tiles of TIFFs are found, filled in and checked, however their programs wrote them."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pipelines.images import ImageError, decode
from tests import image_files as files
from tests.pipelines.images import tiff_files
from tests.pipelines.images.decoding import assert_decodes, assert_refused
from tests.pipelines.images.tiff_files import COMPRESSION, PLANES, STRIP_OFFSETS, STRIP_ROWS, STRIP_SIZES

RGB = files.picture(40, 56)
GRAY = files.picture(40, 56, bands=1)[..., 0]
CODES: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    8: zlib.compress,
    34925: lzma.compress,
    32773: lambda raw: b"".join(b"\0" + raw[at : at + 1] for at in range(len(raw))),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
def test_a_file_may_end_behind_its_last_entry(order: str, big: bool, deflate: bool) -> None:
    whole = files.tiff(GRAY, files.BLACK_IS_ZERO, order=order, big=big, deflate=deflate)
    pointer, entry = (8, 20) if big else (4, 12)
    for length in range(pointer + 1):
        assert_decodes(whole[: len(whole) - length], np.dstack([GRAY] * 3), "tiff 1x8", ["grayscale"])
    assert_refused(whole[: len(whole) - pointer - entry], "TIFF")


@pytest.mark.parametrize("compression", CODES)
@pytest.mark.parametrize("rows", [7, 16, 39, 64])
def test_the_last_strip_may_be_as_high_as_the_others(compression: int, rows: int) -> None:
    number = -(-len(RGB) // rows)
    padded = np.vstack([RGB, np.full((number * rows - len(RGB), *RGB.shape[1:]), 77, np.uint8)])
    strips = [CODES[compression](padded[top : top + rows].tobytes()) for top in range(0, len(padded), rows)]
    tags = {COMPRESSION: ("H", [compression]), STRIP_ROWS: ("I", [rows])}
    data = tiff_files.of_strips(strips, RGB.shape, files.RGB, tags)
    assert_decodes(data, RGB, "tiff 3x8")


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("rows", [16, 32])
def test_the_last_jpeg_may_be_as_high_as_the_others(planar: bool, rows: int) -> None:
    usual = decode(tiff_files.of_jpegs(RGB, rows, planar=planar)).pixels.astype(int)
    high = decode(tiff_files.of_jpegs(RGB, rows, planar=planar, last_rows=rows)).pixels
    assert np.abs(high - usual).max() <= 12
    assert np.array_equal(high[:rows], usual[:rows])
    for wrong in (rows - 1, rows + 1):
        assert_refused(tiff_files.of_jpegs(RGB, rows, planar=planar, last_rows=wrong), f"is not {RGB.shape[1]} x 8")


@pytest.mark.parametrize("samples", [RGB, GRAY], ids=["colour", "gray"])
def test_jpegs_may_hold_a_band_each(samples: Any) -> None:
    planar = tiff_files.of_jpegs(samples if samples.ndim == 3 else samples[..., None], 16, planar=True)
    whole = decode(planar).pixels.astype(int)
    assert np.abs(whole - (samples if samples.ndim == 3 else samples[..., None])).mean() < 2
    last = planar.rindex(b"\xff\xd9")
    cut = planar[: last - 60] + b"\xff\xd9" + planar[last - 60 : last - 2] + planar[last + 2 :]
    with pytest.raises(ImageError):
        decode(cut[:last] + bytes(2) + planar[last + 2 :])


@pytest.mark.parametrize(
    ("options", "bands"),
    [
        ({"planar": True}, 3),
        ({}, 1),
        ({}, 3),
        ({"subsampled": (1, 1)}, 3),
        ({"subsampled": (2, 1)}, 3),
        ({"subsampled": (2, 2)}, 3),
    ],
)
@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("sharing", [False, True])
def test_what_a_sparse_tiff_of_jpegs_leaves_out_is_black(
    options: dict[str, Any], bands: int, missing: int, sharing: bool
) -> None:
    samples = RGB if bands == 3 else GRAY
    expected = decode(tiff_files.of_jpegs(samples, 16, **options)).pixels.copy()
    # In planes, only the first band lacks it.
    bands_without = slice(0, 1) if options.get("planar") else slice(None)
    expected[16 * missing : 16 * missing + 16, :, bands_without] = 0
    data = tiff_files.of_jpegs(samples, 16, missing=[missing], sharing=sharing, **options)
    assert np.array_equal(decode(data).pixels, expected)


def test_a_sparse_tiff_of_jpegs_may_leave_out_nearly_all() -> None:
    gray = np.full((512, 16, 1), 200, np.uint8)
    pixels = decode(tiff_files.of_jpegs(gray, 8, missing=range(1, 64))).pixels
    assert (pixels[:8].min(), pixels[8:].max()) == (200, 0)


def test_a_sparse_tiff_of_jpegs_has_the_value_of_no_data() -> None:
    data = tiff_files.of_jpegs(GRAY, 16, missing=[1], tags={tiff_files.NO_DATA: ("B", list(b"200\0"))})
    decoded = decode(data)
    assert (decoded.pixels[16:32] == 200).all()
    assert decoded.repairs == ("no_data_kept", "grayscale")


def webps(samples: Any, rows: int, *, last_rows: int = 0, **options: Any) -> list[bytes | None]:
    strips: list[bytes | None] = []
    for top in range(0, len(samples), rows):
        strip = samples[top : top + rows]
        if last_rows and top + rows >= len(samples):
            strip = np.pad(strip, ((0, last_rows - len(strip)), (0, 0), (0, 0)))
        strips.append(files.encode(strip, "webp", exact=True, **{"lossless": True, **options}))
    return strips


@pytest.mark.parametrize("rows", [16, 30, 64])
@pytest.mark.parametrize("last_rows", [0, 30])
@pytest.mark.parametrize("tag", [None, tiff_files.EXTRA])
def test_webps_in_a_tiff_are_read(rows: int, last_rows: int, tag: int | None) -> None:
    samples = np.dstack([RGB, 255 - GRAY]) if tag else RGB
    tags = {COMPRESSION: ("H", [50001]), STRIP_ROWS: ("I", [rows]), **({tag: ("H", [2])} if tag else {})}
    strips = webps(samples, rows, last_rows=last_rows if rows == 30 else 0)
    data = tiff_files.of_strips(strips, samples.shape, files.RGB, tags)
    assert_decodes(data, RGB, f"tiff {samples.shape[2]}x8", ["alpha_dropped"] if tag else [])


@pytest.mark.parametrize("options", [{}, {"lossless": False}])
def test_a_tiff_whose_webps_are_not_whole_is_refused(options: dict[str, Any]) -> None:
    tags = {COMPRESSION: ("H", [50001]), STRIP_ROWS: ("I", [16])}
    strips = webps(RGB, 16, **options)
    second = strips[1]
    assert second
    for length in range(1, len(second) - 1, 7):
        strips[1] = second[:length]
        assert_refused(tiff_files.of_strips(strips, RGB.shape, files.RGB, tags), "TIFF|WebP")
    strips[1] = webps(RGB, 15)[0]
    wrong = tiff_files.of_strips(strips, RGB.shape, files.RGB, tags)
    assert_refused(wrong, "a WebP file in it has 56 x 15 pixels instead of 56 x 16")
    large = bytearray(second)
    at = large.index(b"VP8L") + 9 if not options else large.index(b"VP8 ") + 14
    large[at : at + 4] = b"\xff" * 4
    strips[1] = bytes(large)
    assert_refused(tiff_files.of_strips(strips, RGB.shape, files.RGB, tags), "instead of 56 x 16")


def test_what_a_sparse_tiff_of_webps_leaves_out_is_black() -> None:
    strips = webps(RGB, 16)
    strips[1] = None
    tags = {COMPRESSION: ("H", [50001]), STRIP_ROWS: ("I", [16])}
    expected = RGB.copy()
    expected[16:32] = 0
    assert_decodes(tiff_files.of_strips(strips, RGB.shape, files.RGB, tags), expected, "tiff 3x8")


@pytest.mark.parametrize("compressed", [False, True])
def test_sizes_may_be_missing_if_nothing_is_compressed(compressed: bool) -> None:
    strips = [zlib.compress(RGB.tobytes()) if compressed else RGB.tobytes()]
    tags = {COMPRESSION: ("H", [8 if compressed else 1]), STRIP_SIZES: ("I", [0])}
    data = tiff_files.of_strips(strips, RGB.shape, files.RGB, tags)
    if compressed:
        assert_refused(data, "leaves out all of its pixels")
    else:
        assert_decodes(data, RGB, "tiff 3x8")


def test_a_strip_that_is_left_out_is_black_even_if_the_file_says_no_sizes() -> None:
    """Otherwise the head of the file would be shown."""
    places = {STRIP_ROWS: ("I", [16]), STRIP_OFFSETS: ("I", [8, 0, 8 + RGB[:32].nbytes])}
    expected = RGB.copy()
    expected[16:32] = 0
    data = files.tiff(RGB, files.RGB, tags=places, without=[STRIP_SIZES])
    assert_decodes(data, expected, "tiff 3x8")


def test_tiles_may_be_listed_as_strips() -> None:
    padded = np.pad(RGB, ((0, 8), (0, 8), (0, 0)))
    tiles = [padded[y : y + 16, x : x + 16].tobytes() for y in range(0, 48, 16) for x in range(0, 64, 16)]
    tags = {322: ("I", [16]), 323: ("I", [16])}
    assert_decodes(tiff_files.of_strips(tiles, RGB.shape, files.RGB, tags), RGB, "tiff 3x8")
    places: Sequence[int] = [8 + len(tiles[0]) * number for number in range(len(tiles))]
    both = {**tags, 324: ("I", places), STRIP_OFFSETS: ("I", places), STRIP_SIZES: ("I", [768] * len(tiles))}
    assert_refused(tiff_files.of_strips(tiles, RGB.shape, files.RGB, both), "contradictory strips and tiles")


@pytest.mark.parametrize(
    ("compression", "reason"),
    [
        (2, "modified Huffman code is not supported: its decoder hides damage"),
        (3, "group 3 fax code is not supported: its decoder hides damage"),
        (4, "group 4 fax code is not supported: its decoder hides damage"),
        (6, "TIFF compressed with old-style JPEG is not supported$"),
        (32809, "TIFF compressed with the code of ThunderScan is not supported$"),
        (34712, "TIFF compressed with JPEG 2000 is not supported$"),
        (34887, "TIFF compressed with LERC is not supported; rewrite it, e.g. with gdal_translate -co "),
        (50002, "TIFF compressed with JPEG XL is not supported; rewrite it, e.g. with gdal_translate -co "),
        (52546, "TIFF compressed with JPEG XL is not supported; rewrite it, e.g. with gdal_translate -co "),
        (12345, "TIFF of unknown compression 12345 is not supported$"),
    ],
)
def test_a_compression_that_is_not_read_is_named(compression: int, reason: str) -> None:
    assert_refused(files.tiff(RGB, files.RGB, tags={COMPRESSION: ("H", [compression])}), reason)


def test_planes_that_are_left_out_need_not_be_whole() -> None:
    bands = [RGB[..., band].tobytes() for band in range(3)]
    tags = {PLANES: ("H", [2])}
    shape = (*RGB.shape[:2], 4)
    short = tiff_files.of_strips([*bands, bands[0][:100]], shape, files.RGB, tags)
    assert_decodes(short, RGB, "tiff 4x8", ["extra_band_dropped"])
    for number in range(3):
        lacking = [*bands, bands[0]]
        lacking[number] = lacking[number][:-1]
        assert_refused(tiff_files.of_strips(lacking, shape, files.RGB, tags), f"strip {number + 1} of 3 has")
