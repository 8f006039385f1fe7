"""Read the layout of a BMP, and unpack its run-length encoding.

Pillow fills what a run-length encoding leaves out, so that a file of 1 KB costs it 64 million pixels.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import NamedTuple

import numpy as np

from pipelines.images.layout import DamagedImageError, Layout, UnsupportedImageError

_SAMPLES = {1: (1, 1), 4: (1, 4), 8: (1, 8), 16: (3, 5), 24: (3, 8), 32: (4, 8)}
_OS2_HEADER = 12
_RLE8, _RLE4 = 1, 2
# After a zero: the end of a line or of the bitmap (1), a jump; anything higher is a number of literal pixels.
_END_OF_LINE, _DELTA = 0, 2


class Header(NamedTuple):
    """The size of a BMP, and how its pixels are stored.

    Attributes:
      length: bytes of the bitmap header.
      width: columns.
      height: rows.
      depth: bits per pixel.
    """

    length: int
    width: int
    height: int
    depth: int


def read_header(data: bytes) -> Header:
    """Read the bitmap header: OS/2's of 12 bytes, or one of Windows', which all begin alike."""
    (length,) = struct.unpack_from("<I", data, 14)
    width, height, _, depth = struct.unpack_from("<HHHH" if length == _OS2_HEADER else "<iiHH", data, 18)
    # A negative height means that the first row is the top one.
    return Header(length, width, abs(height), depth)


def read_bmp(data: bytes) -> Layout:
    """Read the bitmap header, and have a run-length encoding unpacked."""
    header = read_header(data)
    samples, bits = _SAMPLES.get(header.depth, (0, 0))
    if not samples:
        raise UnsupportedImageError(f"{header.depth}-bit BMP: only 1, 4, 8, 16, 24 or 32 bits per pixel are supported")
    layout = Layout("bmp", header.width, header.height, samples, bits, frames=1)
    compression = 0 if header.length == _OS2_HEADER else struct.unpack_from("<I", data, 30)[0]
    if compression not in (_RLE8, _RLE4):
        return layout
    if bits != (8 if compression == _RLE8 else 4):
        raise DamagedImageError(f"damaged BMP: {bits}-bit pixels in a run-length encoding for a different depth")
    return layout._replace(to_pixels=partial(_to_plain_rows, header.length, layout))


def _to_plain_rows(header_size: int, layout: Layout, data: bytes) -> bytes:
    """Replace the run-length encoding.

    Raises:
      DamagedImageError: it leaves pixels out.
    """
    try:
        start = _first_pixel(data, header_size, layout.bits)
        rows = _unpack_runs(data, start, layout)
    except IndexError as error:
        raise DamagedImageError("truncated BMP: its run-length encoding ends before the last pixel") from error
    indices = np.frombuffer(rows, np.uint8).reshape(layout.height, layout.width)
    per_byte = 8 // layout.bits
    # Rows are padded to multiples of 4 bytes.
    indices = np.pad(indices, ((0, 0), (0, -layout.width % (4 * per_byte))))
    packed = indices if per_byte == 1 else indices[:, ::2] << 4 | indices[:, 1::2]
    return b"".join((data[:30], bytes(4), data[34:start], packed.tobytes()))


def _first_pixel(data: bytes, header_size: int, bits: int) -> int:
    """Find the byte at which the pixels begin, as Pillow does: after the palette where the header is vague."""
    (offset,) = struct.unpack_from("<I", data, 10)
    (colours,) = struct.unpack_from("<I", data, 46)
    header_end: int = 14 + header_size
    return offset if offset not in (0, header_end) else header_end + 4 * (colours or 1 << bits)


def _unpack_runs(data: bytes, at: int, layout: Layout) -> bytearray:
    """Unpack runs and literal pixels to one byte a pixel."""
    width, missing, nibbles = layout.width, layout.height, layout.bits == 4
    # A run of 4-bit pixels alternates between the two in its byte.
    pixels = [bytes((byte >> 4, byte & 15) if nibbles else (byte,)) for byte in range(256)]
    rows, x = bytearray(), 0
    # The end of the last row need not be marked.
    while missing > 1 or x < width:
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = (pixels[value] * count)[: min(count, width - x)]
        elif value > _DELTA:
            size = -(-value // 2) if nibbles else value
            literal = b"".join(map(pixels.__getitem__, data[at : at + size]))
            run = literal[: min(value, width - x)]
            # Literal pixels are padded to an even number of bytes.
            at += size + size % 2
        elif x == width and value == _END_OF_LINE:
            missing, x = missing - 1, 0
            continue
        else:
            raise DamagedImageError("damaged BMP: its run-length encoding leaves out pixels")
        rows += run
        x += len(run)
    return rows
