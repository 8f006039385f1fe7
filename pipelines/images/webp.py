"""Read the layout of a WebP from its chunks; RFC 9649."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.images.layout import DAMAGED_PROFILE, DamagedImageError, Layout
from pipelines.images.metadata import read_orientation

# Frames of an animation, above all; their decoder keeps a record of each.
_MOST_CHUNKS = 200_000
_EXTENDED = b"VP8X"
_HAS_PROFILE = 0x20


class Canvas(NamedTuple):
    """What the first chunk says."""

    width: int
    height: int
    alpha: bool


def read_webp(data: bytes) -> Layout:
    """Read the first chunk and, of an extended file, those that say something about the image."""
    canvas = read_canvas(data)
    chunks = _read_chunks(data) if data[12:16] == _EXTENDED else {}
    return Layout(
        "webp",
        canvas.width,
        canvas.height,
        samples=4 if canvas.alpha else 3,
        orientation=read_orientation(chunks.get(b"EXIF", b"")),
        profile=_read_profile(chunks, data[20]),
    )


def _read_profile(chunks: Mapping[bytes, bytes], flags: int) -> bytes | None:
    """Return the ICC profile. Without its flag, decoders do not agree whether it counts; section 2.7.1."""
    profile = chunks.get(b"ICCP")
    return profile if profile is None or flags & _HAS_PROFILE else DAMAGED_PROFILE


def read_canvas(data: bytes) -> Canvas:
    """Read the first chunk; sections 2.5 to 2.7.

    Raises:
      DamagedImageError: it is none that can come first.
    """
    kind = data[12:16]
    if kind == _EXTENDED:
        flags, size = struct.unpack_from("<B3x6s", data, 20)
        width, height = (int.from_bytes(side, "little") + 1 for side in (size[:3], size[3:]))
        return Canvas(width, height, bool(flags & 0x10))
    if kind == b"VP8L":
        (fields,) = struct.unpack_from("<I", data, 21)
        return Canvas((fields & 0x3FFF) + 1, (fields >> 14 & 0x3FFF) + 1, bool(fields >> 28 & 1))
    if kind == b"VP8 ":
        columns, rows = struct.unpack_from("<HH", data, 26)
        return Canvas(columns & 0x3FFF, rows & 0x3FFF, False)
    raise DamagedImageError(f"damaged WebP: its first chunk is {kind!r}")


def _read_chunks(data: bytes) -> dict[bytes, bytes]:
    """Read the chunks that say something about the image; of several with a name, the first counts."""
    chunks: dict[bytes, bytes] = {}
    at, number = 12, 0
    while at + 8 <= len(data):
        number += 1
        if number > _MOST_CHUNKS:
            raise DamagedImageError(f"damaged WebP: more than {_MOST_CHUNKS:,} chunks")
        name, size = struct.unpack_from("<4sI", data, at)
        if name in (b"EXIF", b"ICCP"):
            chunks.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks
