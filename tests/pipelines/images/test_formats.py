"""What `read_layout` tells of a file from its header, and what it refuses there already."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.images.formats import read_layout
from pipelines.images.layout import ImageError, Layout, UnsupportedImageError
from tests import image_files as files
from tests.jpeg2000_files import codestream

RGB = files.mosaic()
GRAY = files.mosaic(bands=1)[..., 0]
RGBA = files.mosaic(bands=4)
HEIGHT, WIDTH = GRAY.shape


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (files.encode(RGB, "jpeg"), "jpeg 3x8"),
        (files.encode(RGB, "jpeg", progressive=True), "jpeg 3x8"),
        (files.encode(GRAY, "jpeg"), "jpeg 1x8"),
        (files.unmarked_rgba_jpeg(RGB), "jpeg 4x8"),
        (files.encode(RGB, "png"), "png 3x8"),
        (files.png(GRAY % 2, "L", bits=1), "png 1x1"),
        (files.png(files.deep(RGBA), "RGBA"), "png 4x16"),
        (files.tiff(RGB, files.RGB), "tiff 3x8"),
        (files.tiff(RGB, files.RGB, order=">"), "tiff 3x8"),
        (files.tiff(files.deep(GRAY), files.BLACK_IS_ZERO), "tiff 1x16"),
        (files.tiff(files.deep(GRAY), files.BLACK_IS_ZERO, order=">"), "tiff 1x16"),
        (files.tiff(GRAY > 99, files.WHITE_IS_ZERO), "tiff 1x1"),
        (files.tiff(RGBA, files.CMYK, big=True), "tiff 4x8"),
        (files.tiff(RGBA, files.CMYK, big=True, order=">"), "tiff 4x8"),
        (files.encode(RGB, "gif"), "gif 1x8"),
        (files.encode(RGB, "bmp"), "bmp 3x8"),
        (files.encode(GRAY, "bmp"), "bmp 1x8"),
        (files.encode(Image.fromarray(GRAY > 99), "bmp"), "bmp 1x1"),
        (files.encode(RGB, "webp"), "webp 3x8"),
        (files.encode(RGB, "webp", lossless=True), "webp 3x8"),
        (files.encode(RGBA, "webp"), "webp 4x8"),
        (files.encode(RGBA, "webp", lossless=True), "webp 4x8"),
        (files.encode(RGB, "webp", exif=files.exif(1)), "webp 3x8"),
        (files.encode(RGB, "jpeg2000"), "jpeg2000 3x8"),
        (codestream(GRAY), "jpeg2000 1x8"),
    ],
)
def test_source_and_size_are_read_from_the_header(data: bytes, source: str) -> None:
    layout = read_layout(data)
    assert (layout.source, layout.width, layout.height) == (source, WIDTH, HEIGHT)


@given(width=st.integers(1, 16383), height=st.integers(1, 16383))
@pytest.mark.parametrize("format_name", ["jpeg", "jpeg2000", "png", "tiff", "gif", "bmp", "webp"])
def test_sizes_of_all_magnitudes_are_read(format_name: str, width: int, height: int) -> None:
    layout = read_layout(files.bomb(format_name, width, height))
    assert (layout.width, layout.height) == (width, height)


def test_a_bmp_that_begins_with_its_topmost_row_has_a_negative_height() -> None:
    assert read_layout(files.bomb("bmp", 7, -9)).height == 9


def test_an_os2_bmp_is_read() -> None:
    header = b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, 26, 12, WIDTH, HEIGHT, 1, 24)
    assert read_layout(header) == Layout("bmp", WIDTH, HEIGHT, frames=1)


@pytest.mark.parametrize("transform", [None, 0, 1, 2])
@pytest.mark.parametrize("ids", [b"\0\1\2\3", b"\1\2\3\4", b"CMYK"])
def test_the_marks_of_a_four_component_jpeg_are_read(transform: int | None, ids: bytes) -> None:
    layout = read_layout(files.four_component_jpeg(RGBA, adobe=transform, ids=ids))
    assert (layout.adobe_transform, layout.component_ids) == (transform, ids)


def test_a_jpegs_first_scan_is_found_behind_a_thumbnail() -> None:
    thumbnail = files.encode(GRAY, "jpeg")
    data = files.encode(RGB, "jpeg", exif=b"Exif\0\0" + thumbnail)
    layout = read_layout(data)
    assert layout.to_pixels(data)[layout.scan : layout.scan + 2] == b"\xff\xda"
    assert (layout.samples, layout.width) == (3, WIDTH)


@pytest.mark.parametrize(("pages", "frames"), [(1, 1), (2, 2), (5, 2)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_of_a_tiff_are_counted_up_to_two(pages: int, frames: int, order: str, big: bool) -> None:
    assert read_layout(files.tiff(RGB, files.RGB, pages=pages, order=order, big=big)).frames == frames


@pytest.mark.parametrize("kind", ["B", "H", "I", "Q"])
def test_tiff_tags_may_have_any_unsigned_type(kind: str) -> None:
    data = files.tiff(RGB, files.RGB, big=kind == "Q", tags={256: (kind, [WIDTH]), 277: (kind, [3])})
    assert (read_layout(data).width, read_layout(data).samples) == (WIDTH, 3)


DEEP = {bands: files.deep(files.mosaic(2, 2, bands)) for bands in (2, 3, 4, 8, 224)}


@pytest.mark.parametrize("bands", DEEP)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
def test_sixteen_bit_multi_band_tiffs_are_refused(bands: int, order: str, planar: bool) -> None:
    data = files.tiff(DEEP[bands], files.BLACK_IS_ZERO, order=order, planar=planar)
    with pytest.raises(ImageError, match=rf"16-bit multi-band TIFF \({bands} bands\)"):
        read_layout(data)


UNCERTAIN = "its colours are ambiguous"
NOT_UNSIGNED = "only unsigned integers"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (files.tiff(RGBA, files.BLACK_IS_ZERO), UNCERTAIN),
        (files.tiff(RGB, files.BLACK_IS_ZERO), UNCERTAIN),
        (files.tiff(files.mosaic(bands=2), files.BLACK_IS_ZERO), UNCERTAIN),
        (files.tiff(GRAY, files.RGB), UNCERTAIN),
        (files.tiff(RGB, 8), r"CIE L\*a\*b\* is not supported"),
        (files.tiff(GRAY.astype(np.float32), files.BLACK_IS_ZERO, tags={339: ("H", [3])}), "32 bits: it is unknown"),
        (files.tiff(GRAY.astype(np.int16), files.BLACK_IS_ZERO, tags={339: ("H", [2])}), "give --stretch LOW:HIGH"),
        (files.tiff(GRAY.astype(np.int8), files.BLACK_IS_ZERO, tags={339: ("H", [2])}), NOT_UNSIGNED),
        (files.tiff(RGB.astype(np.int8), files.RGB, tags={339: ("H", [2, 2, 2])}), NOT_UNSIGNED),
        (files.tiff(GRAY.astype(np.uint32), files.BLACK_IS_ZERO), NOT_UNSIGNED),
        (files.tiff(RGB, files.RGB, tags={258: ("H", [5, 6, 5])}), NOT_UNSIGNED),
        (files.tiff(files.deep(GRAY), files.WHITE_IS_ZERO), "polarity"),
        (files.tiff(RGB, files.YCBCR) + bytes(5000), "does not say how its colours are subsampled"),
        (files.tiff(RGBA, files.CMYK, tags={332: ("H", [2])}), "inks"),
        (files.tiff(RGBA, files.CMYK, tags={256: ("H", [])}), "damaged TIFF"),
        (files.four_component_jpeg(RGBA).replace(b"\xff\xc0\0\x14\x08", b"\xff\xc0\0\x14\x0c"), "12-bit JPEG"),
        (files.rename_components(files.encode(RGB, "jpeg", subsampling=0), b"\0\1\2"), "may be RGB or YCbCr"),
        (b"\xff\xd8\xff\xd9", "without image data"),
        (files.join_jpeg([*files.jpeg_segments(files.encode(RGB, "jpeg"))[:1]]), "without image data"),
        (b"\xff\xd8\xff\xfe\0\4ab" + b"\0" * 20, "no marker at byte 8"),
        (files.png_header(8, 8, colour_type=5), "damaged PNG"),
        (files.png_header(8, 8)[:8] + files.png_chunk(b"CgBI", bytes(16)), "CgBI"),
        (b"BM" + bytes(40), "BMP that holds a JPEG or a PNG"),
        (b"RIFF\0\0\0\0WEBPJUNK" + bytes(20), "damaged WebP"),
        (b"RIFF\0\0\0\0WAVEfmt " + bytes(20), "not a JPEG"),
        (b"", "empty file"),
        (b"not an image, whatever its name says", "not a JPEG, .*: begins with b'not an i'"),
        (b"%PDF-1.4 ", "PDF file: this format is not supported"),
    ],
)
def test_what_the_header_leaves_open_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_layout(data)


@pytest.mark.parametrize("ids", [b"\1\2\3", b"RGB"])
def test_three_components_with_telling_ids_need_no_marker(ids: bytes) -> None:
    assert read_layout(files.rename_components(files.encode(RGB, "jpeg", subsampling=0), ids)).component_ids == ids


def test_three_components_with_subsampled_chroma_need_no_marker() -> None:
    assert read_layout(files.rename_components(files.encode(RGB, "jpeg", subsampling=2), b"\0\1\2")).samples == 3


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_png_whose_header_or_palette_fails_its_checksum_is_refused(name: bytes) -> None:
    data = bytearray(files.png(GRAY, "P", chunks={b"PLTE": bytes(768)}))
    data[data.index(name) + 5] ^= 1
    with pytest.raises(ImageError, match=f"wrong checksum of {name.decode()}"):
        read_layout(bytes(data))


def test_a_png_whose_pixels_fail_their_checksum_is_refused() -> None:
    data = bytearray(files.encode(RGB, "png"))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(ImageError, match="wrong checksum of the pixel data"):
        read_layout(bytes(data))


@pytest.mark.parametrize("format_name", ["jpeg", "jpeg2000", "png", "tiff", "gif", "bmp", "webp"])
def test_a_header_cut_anywhere_is_refused_or_still_whole(format_name: str) -> None:
    data = files.encode(RGB, format_name)
    whole = read_layout(data)._replace(to_pixels=bytes, ends=tuple)
    for length in range(min(len(data), 700)):
        try:
            assert read_layout(data[:length])._replace(to_pixels=bytes, ends=tuple) == whole, f"{length} bytes"
        except ImageError as error:
            assert str(error), f"no reason for {length} bytes"  # noqa: PT017


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "CR3"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "MP4"),
        (b"\xff\x0a\xfa\x1f\x41", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\1", "PSD"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"P6\n640 480\n255\n", "PNM"),
    ],
)
def test_a_known_format_that_is_not_read_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"^{name} file: this format is not supported"):
        read_layout(data)
