"""Read what an image file says about its own pixels from its header, without decoding it.

Where a header is unusual, decoders guess, and their guesses differ. `pipelines.images` relies on the layout read here
instead.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial

from pipelines.images.bmp import read_bmp
from pipelines.images.gif import read_gif
from pipelines.images.jpeg import read_jpeg
from pipelines.images.layout import DamagedImageError, Layout, NotAnImageError
from pipelines.images.png import read_png
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.images.tiff import read_tiff
from pipelines.images.webp import read_webp

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
_RIFF, _WEBP = b"RIFF", b"WEBP"


def read_layout(data: bytes, rendering: Rendering = NO_RENDERING) -> Layout:
    """Read the layout of an image file.

    Args:
      data: the whole file, or at least its headers.
      rendering: of rasters that are no picture by themselves.

    Raises:
      ImageError: the data is not an image in a known format, its header is truncated, or the header alone shows that
        the colours cannot be trusted.
    """
    format_name = recognize(data)
    readers: Mapping[str, Callable[[bytes], Layout]] = {
        "jpeg": read_jpeg,
        "png": read_png,
        "tiff": partial(read_tiff, rendering=rendering),
        "gif": read_gif,
        "bmp": read_bmp,
        "webp": read_webp,
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
    if data.startswith(_RIFF) and data[8:12] == _WEBP:
        format_name = "webp"
    if format_name is None:
        raise NotAnImageError(f"not a JPEG, PNG, TIFF, GIF, BMP or WebP file: begins with {data[:8]!r}")
    return format_name
