"""Read the few facts of EXIF that change pixels.

Pillow reads all of it: 1 MB of EXIF whose entries share one value would cost it 20 GB.
"""

from __future__ import annotations

import re
import struct
import zlib

_ORIENTATION = 0x0112
_PREFIXES = re.compile(rb"(?:Exif\0\0)*")
# struct's codes of the integers among the field types; the orientation should be a SHORT, but is not always.
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}


def read_orientation(exif: bytes) -> int:
    """Read how an image must be turned to be upright.

    XMP may name an orientation, too. It is not followed: no other decoder does.

    Args:
      exif: an EXIF block, with or without its prefix; empty if there is none.

    Returns:
      The orientation as EXIF numbers it, 1 to 8; 1 if it is missing, unreadable or undefined.
    """
    orientation = find_integer(exif, _ORIENTATION) or 1
    return orientation if 1 <= orientation <= 8 else 1


def find_integer(block: bytes, tag: int) -> int | None:
    """Find a tag with one integer in the first directory of a block that is built like a TIFF, e.g. EXIF."""
    prefixes = _PREFIXES.match(block)
    start = prefixes.end() if prefixes else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    if order is None:
        return None
    found = None
    try:
        (offset,) = struct.unpack_from(order + "I", block, start + 4)
        (entries,) = struct.unpack_from(order + "H", block, start + offset)
        for at in range(start + offset + 2, start + offset + 2 + 12 * entries, 12):
            name, field_type, count = struct.unpack_from(order + "HHI", block, at)
            if name == tag and count == 1 and field_type in _INTEGERS:
                (found,) = struct.unpack_from(order + _INTEGERS[field_type], block, at + 8)
    except struct.error:
        # What precedes the damage counts: many cameras and editors write directories that end too early.
        return found
    return found


def inflate(packed: bytes, most: int) -> bytes:
    """Unpack at most this many bytes of zlib data; damaged data yield nothing."""
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return b""
