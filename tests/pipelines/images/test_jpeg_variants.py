"""JPEGs that are unusual but whole are read as every decoder reads them."""

from __future__ import annotations

import struct

import pytest

from pipelines.images import decode
from tests import image_files as files
from tests.pipelines.images.decoding import RGB, assert_decodes, assert_refused

PICTURE = files.picture()
PLAIN = files.encode(PICTURE, "jpeg", quality=95)
FULL = files.encode(PICTURE, "jpeg", quality=95, subsampling=0)
PROGRESSIVE = files.encode(PICTURE, "jpeg", progressive=True)
PIXELS = decode(PLAIN).pixels


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def between_segments(data: bytes, extra: bytes, after: int) -> bytes:
    """Put bytes behind so many segments."""
    at = 2
    for _ in range(after):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at] + extra + data[at:]


@pytest.mark.parametrize("after", [1, 3, 6])
@pytest.mark.parametrize(
    "extra",
    [
        segment(0xFE, b"\xff\xd9 \xff\xda \xff\xd8"),
        segment(0xE1, b"\xff\xd9"),
        segment(0xEE, b"Adobe"),
        segment(0xE0, b"JFIF\0\1"),
        b"\0\0\x12",
        b"\xff\0\x12\xff\0",
        b"\xff\xff\xff",
        b"\xff\xd3",
        b"\xff\x01",
    ],
)
def test_what_may_stand_between_segments_changes_nothing(extra: bytes, after: int) -> None:
    assert_decodes(between_segments(PLAIN, extra, after), PIXELS, "jpeg 3x8")


def test_more_than_a_few_stray_bytes_are_a_wrong_length() -> None:
    assert_decodes(between_segments(PLAIN, bytes(16), 2), PIXELS, "jpeg 3x8")
    assert_refused(between_segments(PLAIN, bytes(17), 2), "no marker at byte")
    assert_refused(between_segments(PLAIN, b"\xff\xd8", 2), "another one begins at byte")


@pytest.mark.parametrize("extra", [segment(0xFE, b"\xff\xd9"), b"\0\x11\x22", b"\xff\xff"])
def test_what_may_stand_between_scans_changes_nothing(extra: bytes) -> None:
    whole = decode(PROGRESSIVE).pixels
    table = PROGRESSIVE.index(b"\xff\xc4", PROGRESSIVE.index(b"\xff\xda"))
    end = table + 2 + int.from_bytes(PROGRESSIVE[table + 2 : table + 4], "big")
    assert_decodes(PROGRESSIVE[:end] + extra + PROGRESSIVE[end:], whole, "jpeg 3x8")
    assert_decodes(PROGRESSIVE[:-2] + extra + b"\xff\xd9", whole, "jpeg 3x8")


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 1}, {"restart_marker_blocks": 5}])
@pytest.mark.parametrize("number", range(8))
def test_a_restart_marker_behind_the_last_interval_is_no_damage(options: dict[str, int], number: int) -> None:
    data = files.encode(PICTURE, "jpeg", **options)
    assert_decodes(data[:-2] + bytes((0xFF, 0xD0 + number)) + b"\xff\xd9", decode(data).pixels, "jpeg 3x8")


def test_a_restart_marker_in_place_of_the_last_interval_is_damage() -> None:
    data = files.encode(PICTURE, "jpeg", restart_marker_blocks=5)
    last = max(data.rfind(bytes((0xFF, marker))) for marker in range(0xD0, 0xD8))
    assert_refused(data[: last + 2] + b"\xff\xd9", "restart marker instead of")


@pytest.mark.parametrize("ids", [b"\0\1\2", b"\1\x22\x33", b"YCc"])
def test_components_of_any_name_are_ycbcr_if_there_is_exif(ids: bytes) -> None:
    renamed = files.rename_components(FULL, ids)
    assert_refused(renamed, "may be RGB or YCbCr")
    # An EXIF block without entries.
    marked = between_segments(renamed, segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"), 0)
    assert_decodes(marked, decode(FULL).pixels, "jpeg 3x8")


@pytest.mark.parametrize("rest", [b"junk" * 20, bytes(500), PLAIN, files.encode(RGB, "png")])
def test_what_follows_a_jpeg_is_ignored(rest: bytes) -> None:
    assert_decodes(PLAIN + rest, PIXELS, "jpeg 3x8")
