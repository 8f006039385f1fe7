"""Read what an image file says about its own pixels from its header, without decoding it.

Where a header is unusual, decoders guess, and their guesses differ. `pipelines.images` relies on the layout read here
instead.
"""

from __future__ import annotations

import struct
import zlib

from pipelines.images.jpeg import read_jpeg
from pipelines.images.layout import DamagedImageError, Layout, NotAnImageError, UnsupportedImageError
from pipelines.images.tiff import read_tiff

SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
}
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".gif", ".bmp", ".webp")
"""Lowercase name endings of files that are listed as images in a folder."""

# RIFF is a container for many formats, so WebP is recognized by two marks.
RIFF, WEBP = b"RIFF", b"WEBP"
# Pillow reads chunks one by one, and a file can consist of empty ones. With pixels in chunks of 8 kB, as libpng writes
# them, the largest image that is decoded has 63,000.
_MOST_PNG_CHUNKS = 200_000


def read_layout(data: bytes) -> Layout:
    """Read the layout of an image file.

    Args:
      data: the whole file, or at least its headers.

    Raises:
      ImageError: the data is not an image in a known format, its header is truncated, or the header alone shows that
        the colours cannot be trusted.
    """
    format_name = recognize(data)
    readers = {
        "jpeg": read_jpeg,
        "png": _read_png,
        "tiff": read_tiff,
        "gif": _read_gif,
        "bmp": _read_bmp,
        "webp": _read_webp,
    }
    try:
        return readers[format_name](data)
    except (struct.error, IndexError, OverflowError) as error:
        raise DamagedImageError(f"truncated {format_name.upper()} header") from error


def recognize(data: bytes) -> str:
    """Return the name of an image file's format, by its first bytes.

    Raises:
      NotAnImageError: it is in none of the known formats.
    """
    if not data:
        raise NotAnImageError("empty file")
    format_name = next((name for mark, name in SIGNATURES.items() if data.startswith(mark)), None)
    if data.startswith(RIFF) and data[8:12] == WEBP:
        format_name = "webp"
    if format_name is None:
        raise NotAnImageError(f"not a JPEG, PNG, TIFF, GIF, BMP or WebP file: begins with {data[:8]!r}")
    return format_name


def _read_png(data: bytes) -> Layout:
    """Read the IHDR chunk and verify pixel checksums; PNG specification (third edition), sections 11.2.1 and 5.3."""
    width, height, bits, colour_type = struct.unpack_from(">IIBB", data, 16)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour_type)
    if data[12:16] != b"IHDR" or samples is None:
        raise DamagedImageError("damaged PNG header")
    _check_png_pixels(data)
    return Layout("png", width, height, samples, bits, gray=colour_type in (0, 4))


def _check_png_pixels(data: bytes) -> None:
    """Verify the checksum of every IDAT chunk, the only ones whose checksums Pillow ignores."""
    at, chunks = 8, 0
    while at + 12 <= len(data):
        chunks += 1
        if chunks > _MOST_PNG_CHUNKS:
            raise DamagedImageError(f"damaged PNG: more than {_MOST_PNG_CHUNKS:,} chunks")
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if data[at + 4 : at + 8] == b"IDAT":
            if end + 4 > len(data):
                raise DamagedImageError("truncated PNG data")
            if zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                raise DamagedImageError(f"damaged PNG: wrong checksum of the pixel data at byte {at}")
        at = end + 4


def _read_gif(data: bytes) -> Layout:
    """Read the logical screen descriptor; GIF89a, section 18."""
    width, height = struct.unpack_from("<HH", data, 6)
    return Layout("gif", width, height, samples=1)


def _read_bmp(data: bytes) -> Layout:
    """Read the bitmap header: OS/2's of 12 bytes, or one of Windows', which all begin alike."""
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height, _, depth = struct.unpack_from("<HHHH" if header_size == 12 else "<iiHH", data, 18)
    samples, bits = {1: (1, 1), 4: (1, 4), 8: (1, 8), 16: (3, 5), 24: (3, 8), 32: (4, 8)}.get(depth, (0, 0))
    if not samples:
        raise UnsupportedImageError(f"{depth}-bit BMP: only 1, 4, 8, 16, 24 or 32 bits per pixel are supported")
    # A negative height means that the first row is the top one.
    return Layout("bmp", width, abs(height), samples, bits, frames=1)


def _read_webp(data: bytes) -> Layout:
    """Read the first chunk; RFC 9649, sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        flags, canvas = struct.unpack_from("<B3x6s", data, 20)
        width, height = int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1
        alpha = flags & 0x10
    elif kind == b"VP8L":
        (fields,) = struct.unpack_from("<I", data, 21)
        width, height, alpha = (fields & 0x3FFF) + 1, (fields >> 14 & 0x3FFF) + 1, fields >> 28 & 1
    elif kind == b"VP8 ":
        columns, rows = struct.unpack_from("<HH", data, 26)
        width, height, alpha = columns & 0x3FFF, rows & 0x3FFF, 0
    else:
        raise DamagedImageError(f"damaged WebP: its first chunk is {kind!r}")
    return Layout("webp", width, height, samples=4 if alpha else 3)
