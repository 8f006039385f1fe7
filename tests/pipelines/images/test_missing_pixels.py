"""No file passes of which pixels are missing, whatever its coding and however it was cut."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.images import ImageError, decode
from tests import image_files as files
from tests.pipelines.images.decoding import GRAY, RGB, assert_decodes, assert_refused
from tools.hostile_images import HOSTILE, bare_jpeg, rle_bmp, tiff_of_its_own_directory
from tools.image_seeds import Seed, draw_seeds

SEEDS = {seed.name: seed for seed in draw_seeds() if "fax" not in seed.name and "other" not in seed.name}
PICTURE = files.picture()


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_a_file_of_any_layout_cut_short_is_refused_or_whole(seed: Seed) -> None:
    whole = decode(seed.data).pixels
    for length in range(1, len(seed.data), max(1, len(seed.data) // 40)):
        try:
            pixels = decode(seed.data[:length]).pixels
        except ImageError:
            continue
        assert np.array_equal(pixels, whole), f"other pixels from {length} of {len(seed.data)} bytes"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 5}])
def test_a_jpeg_whose_end_was_never_copied_is_refused(options: dict[str, int]) -> None:
    data = files.encode(PICTURE, "jpeg", **options)
    begin = data.rindex(b"\xff\xda")
    for length in range(begin + 20, len(data) - 1, 9):
        assert_refused(data[:length] + bytes(len(data) - length), "JPEG")


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 5}])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_progressive_jpeg_without_one_of_its_scans_is_refused(bands: int, options: dict[str, int]) -> None:
    segments = files.jpeg_segments(files.encode(files.picture(bands=bands), "jpeg", progressive=True, **options))
    scans = [number for number, segment in enumerate(segments) if segment.marker == 0xDA]
    assert len(scans) > 5
    for number in scans:
        scan = segments[number]
        for entropy in (None, b"", scan.entropy[: len(scan.entropy) // 2]):
            changed = [] if entropy is None else [scan._replace(entropy=entropy)]
            assert_refused(files.join_jpeg([*segments[:number], *changed, *segments[number + 1 :]]), "JPEG")


def scan(components: Sequence[int], coded: bytes) -> bytes:
    selectors = b"".join(bytes((component, 0)) for component in components)
    return b"\xff\xda" + struct.pack(">HB", 6 + 2 * len(components), len(components)) + selectors + b"\0\x3f\0" + coded


@pytest.mark.parametrize("missing", range(3))
def test_a_jpeg_with_a_scan_per_component_needs_all_of_them(missing: int) -> None:
    scans = [scan([component], bytes(2)) for component in (1, 2, 3)]
    assert decode(bare_jpeg(0xC0, 16, 16, b"".join(scans))).pixels.shape == (16, 16, 3)
    del scans[missing]
    assert_refused(bare_jpeg(0xC0, 16, 16, b"".join(scans)), "it lacks scans of 1 of its 3 components")


@pytest.mark.parametrize(
    ("process", "kind"),
    [(0xC3, "lossless"), (0xC5, "hierarchical"), (0xCA, "arithmetic-coded progressive"), (0xCB, "lossless")],
)
def test_a_jpeg_of_another_process_is_refused_by_its_name(process: int, kind: str) -> None:
    reason = f"^{kind} JPEG .SOF{process - 0xC0}.: only baseline, extended, progressive and arithmetic"
    assert_refused(bare_jpeg(process, 16, 16, scan([1, 2, 3], bytes(9))), reason)


def test_an_arithmetic_code_cut_anywhere_is_refused_but_for_its_last_unit() -> None:
    data = SEEDS["arithmetic jpeg"].data
    whole = decode(data).pixels.astype(int)
    start = data.index(b"\xff\xda")
    assert np.ptp(whole, axis=(0, 1)).min() > 150, "a picture"
    kept = 0
    for length in range(start + 14, len(data) - 2):
        try:
            pixels = decode(data[:length] + b"\xff\xd9").pixels
        except ImageError:
            continue
        kept += 1
        assert (np.abs(pixels - whole).max(axis=-1) > 16).sum() <= 256, f"{length} of {len(data)} bytes"
    assert kept < 5


def test_an_arithmetic_code_without_data_for_its_last_pixels_is_refused() -> None:
    """Nobody can tell a plain area, whose code is zeros that may be left out, from one that is missing."""
    data = SEEDS["arithmetic jpeg"].data
    assert_refused(data[:-100] + b"\xff\xd9", "whose last pixels need no data: they may be missing")


def test_a_jpeg_with_less_than_two_bits_per_block_is_refused() -> None:
    assert decode(bare_jpeg(0xC0, 64, 64, scan([1, 2, 3], bytes(48)))).pixels.shape == (64, 64, 3)
    assert_refused(bare_jpeg(0xC0, 64, 64, scan([1, 2, 3], bytes(47))), "a scan of 47 bytes")


def test_a_jpeg_without_its_restart_interval_is_refused() -> None:
    segments = files.jpeg_segments(files.encode(PICTURE, "jpeg", restart_marker_blocks=5))
    assert_refused(files.join_jpeg([part for part in segments if part.marker != 0xDD]), "restart marker instead of 0")


def png_of(lines: bytes, like: bytes) -> bytes:
    """Give a PNG other pixels: its lines, each with its filter."""
    begin = like.index(b"IDAT") - 4
    return like[:begin] + files.png_chunk(b"IDAT", zlib.compress(lines)) + files.png_chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["1 png", "L png", "RGBA png", "P png", "I;16 png", "interlaced png"])
def test_a_png_whose_rows_end_early_is_refused(name: str) -> None:
    data = SEEDS[name].data
    whole = decode(data).pixels
    lines = decompressed(data)
    assert np.array_equal(decode(png_of(lines, data)).pixels, whole)
    for length in range(0, len(lines), max(1, len(lines) // 40)):
        assert_refused(png_of(lines[:length], data), "PNG")
    # Rows of whole lines are what Pillow takes for an image.
    row = len(lines) // 28
    assert_refused(png_of(lines[: 20 * row], data), "PNG")


def decompressed(data: bytes) -> bytes:
    """Unpack the only IDAT chunk of a PNG."""
    at = data.index(b"IDAT")
    return zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")])


def test_a_png_may_end_in_black() -> None:
    black = RGB.copy()
    black[-9:] = 0
    assert_decodes(files.png(black, "RGB"), black, "png 3x8")


def test_a_png_without_its_palette_is_refused() -> None:
    assert_refused(files.png(GRAY, "P"), "its palette is missing")


def strips_of(samples: NDArray[np.uint8], offsets: Sequence[int], sizes: Sequence[int]) -> bytes:
    """Write an uncompressed TIFF in strips of 8 rows that begin at these bytes and have these sizes."""
    return files.tiff(samples, files.RGB, tags={278: ("I", [8]), 273: ("I", offsets), 279: ("I", sizes)})


def test_a_tiff_with_missing_or_short_strips_is_refused() -> None:
    size = 8 * RGB.shape[1] * 3
    places = [8 + size * number for number in range(4)]
    assert_decodes(strips_of(RGB, places, [size] * 4), RGB, "tiff 3x8")
    assert_refused(strips_of(RGB, places[:3], [size] * 3), "offsets of 3 and sizes of 3 strips instead of 4")
    assert_refused(strips_of(RGB, [*places, 8], [size] * 5), "instead of 4")
    assert_refused(strips_of(RGB, [0] * 4, [0] * 4), "leaves out all of its pixels")
    assert_refused(strips_of(RGB, places, [size, size - 1, size, size]), f"strip 2 of 4 has {size - 1:,} of {size:,}")


def test_a_tiff_whose_strips_are_no_pixels_is_refused() -> None:
    size = 8 * RGB.shape[1] * 3
    places = [8 + size * number for number in range(4)]
    for rows in (1, 100, 8000):
        assert_refused(tiff_of_its_own_directory(rows), "overlaps another, or the directory")
    for start in (4, 8, 9, places[2] - 1):
        moved = strips_of(RGB, [places[0], start, *places[2:]], [size] * 4)
        assert_refused(moved, "overlaps another, or the directory")
    assert_refused(files.tiff(RGB, files.RGB, tags={273: ("I", [9])}), "or the directory")


def test_strips_may_share_bytes_if_they_are_compressed() -> None:
    strip = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    one = files.tiff(strip, files.RGB, deflate=True)
    size = int.from_bytes(one[4:8], "little") - 8
    places = {257: ("I", [640]), 278: ("I", [16]), 273: ("I", [8] * 40), 279: ("I", [size] * 40)}
    shared = files.tiff(strip, files.RGB, deflate=True, tags=places)
    assert_decodes(shared, np.tile(strip, (40, 1, 1)), "tiff 3x8")


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_tiff_whose_jpeg_ends_early_is_refused(mode: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(files.picture(64, 96)).convert(mode).save(buffer, "tiff", compression="jpeg")
    data, whole = buffer.getvalue(), decode(buffer.getvalue()).pixels.astype(int)
    with Image.open(buffer) as image:
        [start], [size] = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    for length in range(start + 40, start + size - 2, 11):
        cut = data[:length] + b"\xff\xd9" + bytes(start + size - length - 2) + data[start + size :]
        try:
            pixels = decode(cut).pixels
        except ImageError:
            continue
        # libjpeg makes up what is missing of the last unit it has begun, and that leaves no trace.
        assert (np.abs(pixels - whole).max(axis=-1) > 16).mean() < 0.03, f"{length - start} of {size} bytes"


@pytest.mark.parametrize("bits", [8, 4])
def test_a_run_length_encoded_bmp_is_decoded_or_refused(bits: int) -> None:
    width, height = 21, 5
    indices = np.random.default_rng(0).integers(0, 1 << bits, (height, width), np.uint8)
    indices[:, :10] = indices[:, :1]
    lines = []
    for row in indices:
        run = bytes((10, row[0] if bits == 8 else row[0] * 17))
        literal = row[10:]
        packed = literal.tobytes() if bits == 8 else np.packbits(
            np.unpackbits(literal[:, None], axis=1)[:, 4:].reshape(-1)
        ).tobytes()  # fmt: skip
        lines.append(run + bytes((0, len(literal))) + packed + bytes(len(packed) % 2))
    end, line_end = b"\0\1", b"\0\0"
    # The first line in the file is the last row.
    shown = np.stack([indices, 255 - indices, indices // 2], axis=-1)[::-1, :, ::-1]
    whole = rle_bmp(width, height, line_end.join(lines) + line_end + end, bits)
    assert_decodes(whole, shown, f"bmp 1x{bits}", ["palette"])
    assert_decodes(rle_bmp(width, height, line_end.join(lines), bits), shown, f"bmp 1x{bits}", ["palette"])
    for number in range(height):
        lacking = [*lines[:number], *lines[number + 1 :]]
        assert_refused(rle_bmp(width, height, line_end.join(lacking) + line_end + end, bits), "BMP")
    jump = lines[0][:2] + b"\0\2" + bytes((11, 0))
    assert_refused(rle_bmp(width, height, line_end.join([jump, *lines[1:]]) + end, bits), "leaves out pixels")
    for length in range(len(whole) - len(line_end) - len(end) - 1):
        assert_refused(whole[:length], "")


def test_a_gif_without_the_end_of_its_pixels_is_refused() -> None:
    data = files.encode(RGB, "gif")
    for length in range(len(data) - 400, len(data) - 2, 3):
        assert_refused(data[:length], "GIF")


def test_what_a_restart_interval_lacks_is_noticed_between_any_two_markers() -> None:
    data = files.encode(PICTURE, "jpeg", restart_marker_blocks=1)
    markers = [at for at, byte in enumerate(data[:-1]) if byte == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    for first, second in pairwise(markers):
        assert_refused(data[: first + 2] + data[second:], "less than 2 bytes between two of its restart markers")


MARKER = re.compile(rb"\xff[\xd0-\xd7]")
INTERVALS = [{"restart_marker_blocks": 1}, {"restart_marker_blocks": 10}, {"restart_marker_rows": 1}]


def in_tiff(jpeg: bytes, height: int, width: int, bands: int) -> bytes:
    """Write a TIFF of one strip, which is a JPEG."""
    tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [8] * bands), 259: ("H", [7]), 277: ("H", [bands])}
    shape = {262: ("H", [6 if bands == 3 else 1]), 278: ("I", [height]), 279: ("I", [len(jpeg)])}
    return files.tiff(np.frombuffer(jpeg, np.uint8)[None], files.RGB, tags={**tags, **shape})


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("options", INTERVALS)
def test_a_jpeg_whose_restart_intervals_end_early_is_refused(options: dict[str, int], bands: int) -> None:
    jpeg = files.encode(files.picture(96, 160, bands=bands), "jpeg", **options)
    whole = decode(jpeg).pixels.astype(int)
    assert np.abs(decode(in_tiff(jpeg, 96, 160, bands)).pixels - whole).max() <= 1
    edges = [0, *(edge for mark in MARKER.finditer(jpeg) for edge in mark.span()), len(jpeg)]
    parts = [jpeg[start:end] for start, end in pairwise(edges)]
    intervals = range(2, len(parts) - 1, 2)
    cuts = [{number: len(parts[number]) // 2} for number in intervals]
    for cut in [*cuts, *(dict.fromkeys(intervals, length) for length in (1, 2, 3, 10, 30))]:
        data = b"".join(part[: cut.get(number)] for number, part in enumerate(parts))
        for file in (data, in_tiff(data, 96, 160, bands)):
            try:
                pixels = decode(file).pixels
            except ImageError:
                continue
            # What a unit lacks may be made up.
            wrong = (np.abs(pixels - whole).max(axis=-1) > 16).sum()
            assert wrong <= 256, f"{wrong} wrong pixels, although intervals {cut} are cut"


@pytest.mark.parametrize("options", [*INTERVALS, {}, {"progressive": True}])
def test_a_jpeg_with_fill_bytes_before_its_markers_is_whole(options: dict[str, int]) -> None:
    gray = np.full((32, 48, 3), 128, np.uint8)
    for picture in (PICTURE, gray):
        data = files.encode(picture, "jpeg", **options)
        filled = re.sub(rb"\xff[\xd0-\xd7\xd9\xda]", lambda mark: b"\xff\xff" + mark[0], data)
        assert len(filled) > len(data)
        assert_decodes(filled, decode(data).pixels, "jpeg 3x8")


def test_a_tiff_of_more_jpegs_than_can_be_checked_is_refused() -> None:
    [gray] = [kind for kind in HOSTILE if kind.name == "gray strips"]
    assert decode(gray.build(3)).pixels.shape == (48, 16, 3)
    assert_refused(gray.build(10_001), "TIFF of 10,001 JPEGs with tables of 0 bytes: the limits are 10,000 and 4,096")
