"""BMPs whose pixels are fields of bits have the colours that their masks tell."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest

from tests import image_files as files
from tests.pipelines.images.decoding import assert_decodes, assert_refused

PICTURE = files.picture(29, 37)
FIELDS = {
    "565": (16, (0xF800, 0x07E0, 0x001F)),
    "555": (16, (0x7C00, 0x03E0, 0x001F)),
    "444": (16, (0x0F00, 0x00F0, 0x000F)),
    "bgr565": (16, (0x001F, 0x07E0, 0xF800)),
    "332": (16, (0x00E0, 0x001C, 0x0003)),
    "bgr": (32, (0x00FF0000, 0x0000FF00, 0x000000FF)),
    "rgb": (32, (0x000000FF, 0x0000FF00, 0x00FF0000)),
    "xbgr": (32, (0xFF000000, 0x00FF0000, 0x0000FF00)),
    "xrgb": (32, (0x0000FF00, 0x00FF0000, 0xFF000000)),
}


def field_bmp(depth: int, masks: Sequence[int], header: int, alpha: int = 0, *, top_down: bool = False) -> bytes:
    """Write the picture, each level shortened to the bits of its field."""
    height, width = PICTURE.shape[:2]
    pixels = np.full((height, -(-width * depth // 32) * 32 // depth), alpha, np.uint32)
    for mask, band in zip(masks, np.moveaxis(shortened(masks, levels=False), -1, 0), strict=True):
        pixels[:, :width] |= band.astype(np.uint32) * np.uint32(mask & -mask)
    rows = (pixels if top_down else pixels[::-1]).astype(f"<u{depth // 8}").tobytes()
    all_masks = struct.pack("<4I", *masks, alpha)
    compression = 6 if header == 40 and alpha else 3
    start = struct.pack(
        "<IiiHHIIiiII", header, width, -height if top_down else height, 1, depth, compression, 0, 0, 0, 0, 0
    )
    start += all_masks.ljust(header - 40, b"\0") if header > 52 else all_masks[: 16 if compression == 6 else 12]
    return struct.pack("<2sIHHI", b"BM", 14 + len(start) + len(rows), 0, 0, 14 + len(start)) + start + rows


def shortened(masks: Sequence[int], *, levels: bool = True) -> files.Samples:
    """Return the picture with as many levels as the fields have, as values of the fields or as levels of 255."""
    largest = np.array([mask // (mask & -mask) for mask in masks])
    values = np.rint(PICTURE / 255 * largest).astype(int)
    scaled: files.Samples = np.floor(values * 255 / largest + 0.5).astype(int)
    return scaled if levels else values


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_any_place_and_size_are_scaled_to_bytes(name: str, header: int) -> None:
    depth, masks = FIELDS[name]
    bits = max(mask.bit_count() for mask in masks)
    for top_down in (False, True):
        data = field_bmp(depth, masks, header, top_down=top_down)
        assert_decodes(data, shortened(masks), f"bmp 3x{bits}")


@pytest.mark.parametrize("header", [40, 56, 124])
@pytest.mark.parametrize(("name", "alpha"), [("555", 0x8000), ("444", 0xF000), ("rgb", 0xFF000000), ("xbgr", 0xFF)])
def test_fields_of_opacity_are_left_out(name: str, alpha: int, header: int) -> None:
    depth, masks = FIELDS[name]
    bits = max(mask.bit_count() for mask in masks)
    assert_decodes(field_bmp(depth, masks, header, alpha), shortened(masks), f"bmp 4x{bits}", ["alpha_dropped"])


def test_a_bmp_with_fields_is_refused_if_rows_are_missing() -> None:
    depth, masks = FIELDS["565"]
    data = field_bmp(depth, masks, 40)
    for length in range(len(data) - 400, len(data), 7):
        assert_refused(data[:length], "truncated BMP")


@pytest.mark.parametrize("masks", [(0x3FF00000, 0xFFC00, 0x3FF), (0, 0xFF00, 0xFF), (0xF0F, 0xF000, 0xF0)])
def test_other_fields_are_refused_by_their_bits(masks: tuple[int, int, int]) -> None:
    depth, usual = FIELDS["bgr"]
    data = field_bmp(depth, usual, 40)
    bits = ", ".join(str(mask.bit_count()) for mask in masks)
    assert_refused(data[:54] + struct.pack("<3I", *masks) + data[66:], f"fields of {bits} bits")


@pytest.mark.parametrize("compression", [4, 5, 11])
def test_other_codes_of_a_bmp_are_refused_by_number(compression: int) -> None:
    data = files.encode(PICTURE, "bmp")
    assert_refused(data[:30] + struct.pack("<I", compression) + data[34:], f"BMP compression {compression} is not")
