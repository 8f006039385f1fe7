"""Run-length encoded BMPs have the pixels that their writer meant."""

from __future__ import annotations

import struct
from random import Random

import numpy as np
import pytest

from tests.image_files import Samples
from tests.pipelines.images.decoding import assert_decodes

COLOURS = np.random.default_rng(1).integers(0, 256, (16, 3), np.uint8)


def run_length_bmp(indices: Samples, bits: int, rng: Random) -> bytes:
    """Write a BMP whose rows are cut at random into runs of one or two indices, and absolute runs of any length."""
    height, width = indices.shape
    packed = bytearray()
    for row in indices[::-1].tolist():
        at = 0
        while at < width:
            left = width - at
            if left >= 3 and rng.random() < 0.6:
                number = rng.randint(3, min(left, 255))
                packed += bytes((0, number)) + pack_pixels(row[at : at + number], bits)
            else:
                number = 1
                while number < left and row[at + number] == row[at] and number < 255:
                    number += 1
                packed += bytes((number, row[at] * 17 if bits == 4 else row[at]))
            at += number
        packed += b"\0\0"
    packed += b"\0\1"
    palette = b"".join(bytes((*colour[::-1], 0)) for colour in COLOURS.tolist())
    start = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, {8: 1, 4: 2}[bits], len(packed), 0, 0, 16, 0)
    return b"BM" + struct.pack("<IHHI", start + len(packed), 0, 0, start) + header + palette + bytes(packed)


def pack_pixels(row: list[int], bits: int) -> bytes:
    """Pack an absolute run, which ends at a multiple of 16 bits."""
    if bits == 8:
        return bytes(row) + bytes(len(row) % 2)
    padded = row + [0] * (-len(row) % 4)
    return bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("seed", range(20))
def test_runs_of_any_length_are_unpacked(bits: int, seed: int) -> None:
    rng = Random(seed)
    shape = (rng.randint(1, 20), rng.randint(1, 70))
    indices = np.random.default_rng(seed).integers(0, 16, shape)
    data = run_length_bmp(indices, bits, rng)
    assert_decodes(data, COLOURS[indices], f"bmp 1x{bits}", ["palette"])
