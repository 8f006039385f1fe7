"""Read what an image file says about its own pixels from its header, without decoding it.

Where a header is unusual, decoders guess, and their guesses differ. `pipelines.images` relies on the layout read here
instead.
"""

from __future__ import annotations

import struct

from pipelines.images.bmp import read_bmp
from pipelines.images.gif import read_gif
from pipelines.images.jpeg import read_jpeg
from pipelines.images.layout import DamagedImageError, Layout, NotAnImageError
from pipelines.images.metadata import read_orientation
from pipelines.images.png import read_png
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
# Frames of an animation, above all; their decoder keeps a record of each.
_MOST_WEBP_CHUNKS = 200_000


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
        "png": read_png,
        "tiff": read_tiff,
        "gif": read_gif,
        "bmp": read_bmp,
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
    chunks = _webp_chunks(data) if kind == b"VP8X" else {}
    return Layout(
        "webp",
        width,
        height,
        samples=4 if alpha else 3,
        orientation=read_orientation(chunks.get(b"EXIF", b"")),
        profile=chunks.get(b"ICCP"),
    )


def _webp_chunks(data: bytes) -> dict[bytes, bytes]:
    """Read the chunks that say something about the image; of several with a name, the first counts."""
    chunks: dict[bytes, bytes] = {}
    at, number = 12, 0
    while at + 8 <= len(data):
        number += 1
        if number > _MOST_WEBP_CHUNKS:
            raise DamagedImageError(f"damaged WebP: more than {_MOST_WEBP_CHUNKS:,} chunks")
        name, size = struct.unpack_from("<4sI", data, at)
        if name in (b"EXIF", b"ICCP"):
            chunks.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks
