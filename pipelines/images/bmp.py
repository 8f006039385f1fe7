"""Read the layout of a BMP, and unpack run-length encodings and fields of bits.

Pillow fills what a run-length encoding leaves out, so that a file of 1 KB costs it 64 million pixels, and it knows but
few of the fields that pixels can have.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from pipelines.errors import quantity
from pipelines.images.layout import DAMAGED_PROFILE, DamagedImageError, Layout, UnsupportedImageError
from pipelines.images.profiles import is_like_srgb

_SAMPLES = {1: (1, 1), 4: (1, 4), 8: (1, 8), 16: (3, 5), 24: (3, 8), 32: (4, 8)}
_OS2_HEADER, _OS2_HEADER_2, _V3_HEADER, _V4_HEADER, _V5_HEADER = 12, 64, 56, 108, 124
_PLAIN, _RLE8, _RLE4, _FIELDS, _ALPHA_FIELDS = 0, 1, 2, 3, 6
_STRIP_PIXELS = 1_000_000
# Colour spaces of the later headers.
_CALIBRATED, _EMBEDDED, _LINKED = 0, 0x4D424544, 0x4C494E4B
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
    if not header.depth:
        raise UnsupportedImageError("BMP that holds a JPEG or a PNG is not supported")
    if not samples:
        raise UnsupportedImageError(f"{header.depth}-bit BMP: only 1, 4, 8, 16, 24 or 32 bits per pixel are supported")
    layout = Layout("bmp", header.width, header.height, samples, bits, frames=1)
    compression = _PLAIN if header.length == _OS2_HEADER else struct.unpack_from("<I", data, 30)[0]
    layout = _with_space(layout, header.length, data)
    if compression == _PLAIN:
        return layout
    # OS/2 gives these numbers to other codes.
    if compression in (_FIELDS, _ALPHA_FIELDS) and header.length != _OS2_HEADER_2:
        return _with_fields(layout, header, compression, data)
    if compression not in (_RLE8, _RLE4):
        raise UnsupportedImageError(f"BMP compression {compression} is not supported")
    if bits != (8 if compression == _RLE8 else 4):
        raise DamagedImageError(f"damaged BMP: {bits}-bit pixels in a run-length encoding for a different depth")
    return layout._replace(to_pixels=partial(_to_plain_rows, header.length, layout))


def _with_space(layout: Layout, header_size: int, data: bytes) -> Layout:
    """Read the colour space that the later headers of Windows state."""
    if header_size < _V4_HEADER:
        return layout
    space, *endpoints, red, green, blue = struct.unpack_from("<I9I3I", data, 70)
    if header_size >= _V5_HEADER and space in (_EMBEDDED, _LINKED):
        offset, size = struct.unpack_from("<II", data, 126)
        profile = data[14 + offset : 14 + offset + size]
        if space == _LINKED:
            return layout._replace(ignores_space=True)
        return layout._replace(profile=profile if len(profile) == size else DAMAGED_PROFILE)
    if space != _CALIBRATED:
        return layout
    sums = [sum(endpoints[at : at + 3]) for at in (0, 3, 6)]
    places = [endpoints[3 * at + axis] / sums[at] for at in range(3) for axis in (0, 1)] if all(sums) else None
    # Fractions of 65,536; some programs write their reciprocals.
    gammas = [max(gamma / 65536, 65536 / gamma) for gamma in (red, green, blue) if gamma]
    return layout._replace(
        ignores_space=not all(is_like_srgb(1 / gamma, None) for gamma in gammas) or not is_like_srgb(None, places)
    )


def _with_fields(layout: Layout, header: Header, compression: int, data: bytes) -> Layout:
    """Read the masks of red, green, blue and opacity, which follow the first header or are part of the later ones."""
    has_alpha = compression == _ALPHA_FIELDS or header.length >= _V3_HEADER
    masks = struct.unpack_from("<4I", data, 54)[: 4 if has_alpha else 3]
    if header.depth not in (16, 32):
        raise DamagedImageError(f"damaged BMP: fields in pixels of {quantity(header.depth, 'bit')}")
    bits = [mask.bit_count() for mask in masks]
    if not all(_is_field(mask, header.depth) for mask in masks[:3]) or max(bits[:3]) > 8:
        raise UnsupportedImageError(f"BMP with fields of {', '.join(map(str, bits))} bits is not supported")
    return layout._replace(
        samples=4 if any(masks[3:]) else 3,
        bits=max(bits[:3]),
        has_opacity=any(masks[3:]),
        to_pixels=partial(_to_bytes, header, masks[:3]),
    )


def _is_field(mask: int, depth: int) -> bool:
    """Return whether a mask is some successive bits of a pixel."""
    field = mask // (mask & -mask) if mask else 0
    return 0 < mask < 1 << depth and field & (field + 1) == 0


def _to_bytes(header: Header, masks: Sequence[int], data: bytes) -> bytes:
    """Spread the fields of red, green and blue over a byte each.

    Raises:
      DamagedImageError: rows are missing.
    """
    (start,) = struct.unpack_from("<I", data, 10)
    size = -(-header.width * header.depth // 32) * 4
    if start < 14 + header.length or len(data) < start + size * header.height:
        raise DamagedImageError("truncated BMP: its data ends before the last pixel")
    stored = np.frombuffer(data, f"<u{header.depth // 8}", size * header.height * 8 // header.depth, start)
    stored = stored.reshape(header.height, -1)[:, : header.width]
    rows = np.zeros((header.height, -(-header.width * 3 // 4) * 4), np.uint8)
    step = max(1, _STRIP_PIXELS // header.width)
    for top in range(0, header.height, step):
        strip = stored[top : top + step].astype(np.uint32)
        for place, mask in enumerate(reversed(masks)):
            lowest = mask & -mask
            largest = mask // lowest
            rows[top : top + step, place : 3 * header.width : 3] = (
                (strip & mask) // lowest * 255 + largest // 2
            ) // largest
    plain = struct.pack("<III", 40, *struct.unpack_from("<II", data, 18)) + struct.pack("<HHI20x", 1, 24, _PLAIN)
    return b"".join((struct.pack("<2sIHHI", b"BM", 54 + rows.nbytes, 0, 0, 54), plain, rows.data))


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
