"""Build JPEG 2000 files in memory: codestreams, in boxes and in parts."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.image_files import encode


def box(name: bytes, payload: bytes) -> bytes:
    """Frame a box: length, name, payload."""
    return struct.pack(">I4s", len(payload) + 8, name) + payload


def codestream(samples: NDArray[np.uint8] | Image.Image, **options: Any) -> bytes:
    """Encode a JPEG 2000 without loss and without boxes; two bands are gray and opacity."""
    return encode(samples, "jpeg2000", no_jp2=True, **options)


def colour_box(space: int) -> bytes:
    """Name a colour space by its number: 16 is sRGB, 17 gray."""
    return box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))


def jp2(stream: bytes, *boxes: bytes, size: tuple[int, int, int] | None = None) -> bytes:
    """Put a codestream into a file of boxes.

    Args:
      stream: from `codestream`.
      boxes: those of the header after its first, e.g. a colour specification.
      size: height, width and components that the header claims; those of the codestream by default.
    """
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    height, width, samples = size or (bottom - top, right - left, struct.unpack_from(">H", stream, 40)[0])
    header = box(b"ihdr", struct.pack(">IIHBBBB", height, width, samples, stream[42], 7, 0, 0))
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"jp2h", header + b"".join(boxes)) + box(b"jp2c", stream)


def tile_parts(stream: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Split a codestream into what precedes its tile parts, these, and what follows them."""
    first = at = stream.index(b"\xff\x90")
    parts = []
    while stream[at : at + 2] == b"\xff\x90":
        end = at + int.from_bytes(stream[at + 6 : at + 10], "big")
        parts.append(stream[at:end])
        at = end
    return stream[:first], parts, stream[at:]


def join_tile_parts(header: bytes, parts: Sequence[bytes], end: bytes) -> bytes:
    """Put a codestream together from `tile_parts`; each part is given its true length."""
    return header + b"".join(part[:6] + struct.pack(">I", len(part)) + part[10:] for part in parts) + end
