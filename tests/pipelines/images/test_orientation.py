"""Images are turned upright, and of several frames the first is taken."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.images.formats import read_layout
from pipelines.images.metadata import read_orientation
from tests import image_files as files
from tests.pipelines.images.decoding import BEST, DEEP_GRAY, LOSSLESS, RGB, UNMARKED, assert_decodes, to_eight_bits


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


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
HEX = b"\nexif\n      34\n" + files.exif(6).hex().encode()


@pytest.mark.parametrize(
    "data",
    [
        files.png(RGB, "RGB", chunks={b"tEXt": b"Raw profile type exif\0" + HEX}),
        files.png(RGB, "RGB", chunks={b"zTXt": b"Raw profile type exif\0\0" + zlib.compress(HEX)}),
    ],
    ids=["text", "packed text"],
)
def test_an_orientation_is_read_where_imagemagick_stores_it(data: bytes) -> None:
    assert_decodes(data, files.turned(RGB, 6), "png 3x8", ["exif_rotated"])


@pytest.mark.parametrize(("kind", "code"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")])
def test_an_orientation_may_be_any_integer(kind: int, code: str) -> None:
    value = struct.pack(f"<{code}", 6).ljust(4, b"\0")
    block = struct.pack("<2sHIHHHI4sI", b"II", 42, 8, 1, 0x0112, kind, 1, value, 0)
    assert_decodes(files.png(RGB, "RGB", chunks={b"eXIf": block}), files.turned(RGB, 6), "png 3x8", ["exif_rotated"])
    assert_decodes(
        files.encode(RGB, "webp", exif=block, **LOSSLESS), files.turned(RGB, 6), "webp 3x8", ["exif_rotated"]
    )


@pytest.mark.parametrize(
    "data",
    [
        files.png(RGB, "RGB", chunks={b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + XMP}),
        files.tiff(RGB, files.RGB, tags={700: ("B", XMP)}),
        files.encode(RGB, "webp", xmp=XMP, **LOSSLESS),
        files.encode(RGB, "jpeg", xmp=XMP, **BEST),
    ],
    ids=["png", "tiff", "webp", "jpeg"],
)
def test_an_orientation_that_only_xmp_names_is_not_followed(data: bytes) -> None:
    assert_decodes(data, RGB, read_layout(data).source, within=1)


@given(block=st.binary(max_size=200))
def test_any_exif_has_an_orientation(block: bytes) -> None:
    assert read_orientation(block) == 1 or b"\x12\x01" in block or b"\x01\x12" in block
    assert read_orientation(b"Exif\0\0II*\0\x08\0\0\0" + block) in range(1, 9)


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
