"""Read the layout of a GIF from its blocks; GIF89a."""

from __future__ import annotations

import struct
from functools import partial

from pipelines.images.layout import DamagedImageError, Layout

_EXTENSION, _IMAGE, _TRAILER = b"!,;"
_GRAPHIC_CONTROL = 0xF9
_PROFILE = b"!\xff\x0bICCRGBG1012"
# The largest image that is decoded has 400,000 blocks of pixels, of up to 255 bytes each. A file can consist of blocks
# of one byte, and Pillow would join those of a comment one by one, which takes time quadratic in their number.
_MOST_BLOCKS = 2_000_000


def read_gif(data: bytes) -> Layout:
    """Read the logical screen descriptor, and find the first image; sections 17 to 20."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    begin = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    image, control, blocks = _find_image(data, begin, _MOST_BLOCKS)
    if image is None:
        raise DamagedImageError("damaged GIF: it holds no image")
    pixels = image + 11 + (3 << (data[image + 9] & 7) + 1 if data[image + 9] & 0x80 else 0)
    try:
        end, blocks = _skip(data, pixels, blocks)
    except IndexError as error:
        raise DamagedImageError("truncated GIF: its pixels end too early") from error
    try:
        following, _, _ = _find_image(data, end, blocks)
    except IndexError:
        # What follows the first image may be damaged.
        following = None
    left, top, columns, rows = struct.unpack_from("<4H", data, image + 1)
    return Layout(
        "gif",
        width,
        height,
        samples=1,
        # What the first image leaves uncovered is transparent.
        has_opacity=left > 0 or top > 0 or columns < width or rows < height,
        frames=2 if following else 1,
        profile=_read_profile(data, begin, image),
        to_pixels=partial(_to_pixels, begin, control, image, end),
    )


def _read_profile(data: bytes, begin: int, end: int) -> bytes | None:
    """Join the blocks of the ICC profile in front of an image; ICC.1:2022, annex B.6."""
    at = data.find(_PROFILE, begin, end)
    if at < 0:
        return None
    blocks, at = [], at + len(_PROFILE)
    while size := data[at]:
        blocks.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return b"".join(blocks)


def _to_pixels(begin: int, control: bytes, image: int, end: int, data: bytes) -> bytes:
    """Leave out comments and further images."""
    return b"".join((data[:begin], control, data[image:end], b";"))


def _find_image(data: bytes, at: int, left: int) -> tuple[int | None, bytes, int]:
    """Find the next image.

    Args:
      data: the file.
      at: byte at which a block begins.
      left: blocks that may still be read.

    Returns:
      The byte at which the image begins, or None if there is none; the last graphic control extension before it;
      and the blocks left.
    """
    control = b""
    while at < len(data) and data[at] != _TRAILER:
        if data[at] == _IMAGE:
            return at, control, left
        left -= 1
        start, at = at, at + 1
        if data[start] == _EXTENSION:
            at, left = _skip(data, start + 2, left)
            if data[start + 1] == _GRAPHIC_CONTROL:
                control = data[start:at]
        # Pillow skips any other byte, and some encoders pad with zeros.
        if left < 0:
            _refuse()
    return None, control, left


def _skip(data: bytes, at: int, left: int) -> tuple[int, int]:
    """Skip the sub-blocks that begin at a byte; return the byte after them, and the blocks left."""
    while size := data[at]:
        at += size + 1
        left -= 1
        if left < 0:
            _refuse()
    return at + 1, left


def _refuse() -> None:
    raise DamagedImageError(f"damaged GIF: more than {_MOST_BLOCKS:,} blocks")
