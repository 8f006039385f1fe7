"""Files that are too large, cut short or damaged are refused with a reason, or decode to what they hold."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.images import Decoded, ImageError, decode
from tests import ROOT
from tests import image_files as files
from tests.pipelines.images.decoding import (
    BEST,
    GRAY,
    LOSSLESS,
    PALETTE,
    PRINTER,
    RGB,
    UNMARKED,
    WIDE,
    assert_close,
    assert_decodes,
    assert_refused,
)


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
            assert_refused(whole[:first] + whole[second:], "restart marker")
        assert_refused(whole[: markers[-1]] + b"\xff\xd9", "restart marker")


@pytest.mark.parametrize("format_name", ["jpeg", "jpeg2000", "png", "tiff", "gif", "bmp", "webp"])
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 9_500), (8_001, 8_000)])
def test_a_bomb_is_refused_by_its_header(
    monkeypatch: pytest.MonkeyPatch, format_name: str, width: int, height: int
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the image was opened")

    monkeypatch.setattr(Image, "open", refuse)
    assert_refused(
        files.bomb(format_name, width, height),
        r"\d+ x \d+ pixels: exceeds the limit of 64,000,000 \(predict --max_pixels\)",
    )


@pytest.mark.parametrize("format_name", ["jpeg", "jpeg2000", "png", "tiff", "gif", "bmp", "webp"])
def test_the_limit_on_pixels_is_the_callers(format_name: str) -> None:
    data = files.encode(RGB, format_name)
    assert decode(data, max_pixels=GRAY.size).pixels.shape == RGB.shape
    assert_refused(data, f"48 x 32 pixels: exceeds the limit of {GRAY.size - 1:,} ", max_pixels=GRAY.size - 1)


@pytest.mark.parametrize(
    "data", [files.bomb("gif", 0, 5), files.bomb("bmp", 5, 0), files.bomb("png", 0, 0), files.bomb("tiff", 0, 5)]
)
def test_an_image_without_pixels_is_refused(data: bytes) -> None:
    assert_refused(data, "the image is empty")


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
    "jpeg 2000": files.encode(files.picture(), "jpeg2000", tile_size=(32, 32)),
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
    ("data", "reason"), [(b"", "empty file"), (b"a text named .jpg\n", "not a JPEG"), (bytes(1000), "not a JPEG")]
)
def test_data_that_is_not_an_image_is_refused(data: bytes, reason: str) -> None:
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
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\xff\x4f\xff\x51",
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
