"""Read the codestream of a JPEG 2000, and check that it holds its whole picture; ITU-T T.800, annexes A and B.

OpenJPEG takes what is missing for empty packets, without an error.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.jpeg2000.codings import (
    CODING_SEGMENTS,
    Coding,
    Codings,
    Segment,
    apply_segments,
    check_work,
)
from pipelines.images.jpeg2000.size import Size
from pipelines.images.layout import DamagedImageError, ImageTooLargeError

SOT, _SOD, EOC = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
# A decoder keeps a record of each tile (10 KB).
MOST_TILES, MOST_PARTS = 20_000, 100_000
MOST_SEGMENTS = 200_000
# A decoder takes four bytes per sample of a tile, however little data there is. No picture has so many pixels per byte.
_FEW_PIXELS, _MOST_PER_BYTE = 16_000_000, 2000
# As bits of a packet header, ones alone: more bits of length than there may be.
_NO_PACKET = b"\xff\x7f" * 64


class TilePart(NamedTuple):
    """A part of a tile: the number of the tile, and the bytes at which the part begins and ends."""

    tile: int
    start: int
    end: int


class Codestream(NamedTuple):
    """Where the parts of a codestream are.

    Attributes:
      parts: its tile parts.
      codings: all that components have in some tile.
      end: byte at which its end marker begins, or would begin.
    """

    parts: tuple[TilePart, ...]
    codings: tuple[Coding, ...]
    end: int


def read_codestream(data: bytes, start: int, end: int, size: Size) -> Codestream:
    """Find the tile parts of a codestream; annexes A.2 and A.4.

    Args:
      data: a file.
      start: byte at which the codestream begins.
      end: byte at which it must have ended.
      size: as it says.

    Raises:
      DamagedImageError: a tile is missing, or the codestream ends in one.
      ImageTooLargeError: decoding it would take too much memory.
    """
    tiles = size.tiles[0] * size.tiles[1]
    if tiles > MOST_TILES:
        raise ImageTooLargeError(f"JPEG 2000 of {quantity(tiles, 'tile')}: the limit is {MOST_TILES:,}")
    pixels = size.width * size.height
    if pixels > max(_FEW_PIXELS, _MOST_PER_BYTE * (end - start)):
        raise ImageTooLargeError(
            f"JPEG 2000 of {quantity(pixels, 'pixel')} in {quantity(end - start, 'byte')}: too few for a picture"
        )
    segments: list[Segment] = []
    at, left = _read_segments(data, start + 2, end, SOT, segments, MOST_SEGMENTS)
    codings = Codings(apply_segments(segments, len(size.bits), ()), {})
    parts: list[TilePart] = []
    while data[at : at + 2] == SOT:
        tile, length = struct.unpack_from(">4xHI", data, at)
        segments = []
        packets, left = _read_segments(data, at + 12, end, _SOD, segments, left)
        packets += 2
        if segments and tile < tiles:
            inherited = codings.of_tiles.get(tile, codings.main)
            codings.of_tiles[tile] = apply_segments(segments, len(size.bits), inherited)
        # The last part may leave its length open. No data of a packet looks like an end marker.
        part_end = at + length if length else data.find(EOC, packets, end)
        if not packets <= part_end <= end:
            raise DamagedImageError(f"truncated JPEG 2000: its data ends within tile {tile + 1} of {tiles}")
        parts.append(TilePart(tile, at, part_end))
        if len(parts) > MOST_PARTS:
            raise DamagedImageError(f"damaged JPEG 2000: more than {MOST_PARTS:,} tile parts")
        at = part_end
    if at < end and data[at : at + 2] != EOC:
        raise DamagedImageError(f"truncated JPEG 2000: neither a tile nor the end at byte {at}")
    missing = tiles - len({part.tile for part in parts if part.tile < tiles})
    if missing:
        raise DamagedImageError(f"truncated JPEG 2000: it lacks {missing:,} of its {quantity(tiles, 'tile')}")
    check_work(size, codings, end - start)
    return Codestream(tuple(parts), (*codings.main, *chain.from_iterable(codings.of_tiles.values())), at)


def _read_segments(data: bytes, at: int, end: int, last: bytes, kept: list[Segment], most: int) -> tuple[int, int]:
    """Read marker segments up to a marker, and keep those that say how components are coded.

    Returns:
      The byte of that marker, and how many more segments may follow.
    """
    for number in range(most):
        marker = data[at : at + 2]
        if marker == last:
            return at, most - number
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker[0] != 0xFF or marker[1] < 0x4F or length < 2 or at + 2 + length > end:
            raise DamagedImageError(f"damaged JPEG 2000: no marker segment at byte {at}")
        if marker in CODING_SEGMENTS:
            kept.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
    raise DamagedImageError(f"damaged JPEG 2000: more than {MOST_SEGMENTS:,} marker segments")


def with_true_counts(data: bytes, start: int, codestream: Codestream) -> Iterator[bytes | memoryview]:
    """Yield a codestream in which each tile part names the number of parts that its tile has.

    Some encoders count one too few, or from 0, and Pillow lets OpenJPEG not look for the others.

    Args:
      data: a file.
      start: byte at which the codestream begins.
      codestream: as it was read.
    """
    counts = Counter(part.tile for part in codestream.parts)
    view, behind = memoryview(data), start
    for tile, begin, _ in codestream.parts:
        place, count = begin + 11, counts[tile]
        if data[place] != count and count < 256:
            yield from (view[behind:place], bytes((count,)))
            behind = place + 1
    yield from (view[behind : codestream.end], EOC)


def add_no_packets(data: bytes, start: int, codestream: Codestream) -> Iterator[bytes | memoryview]:
    """Yield the parts of a codestream whose tiles each end in data that no decoder takes for a packet.

    It is not read unless a packet is missing.

    Args:
      data: a file.
      start: byte at which the codestream begins.
      codestream: as it was read.
    """
    last = {part.tile: number for number, part in enumerate(codestream.parts)}
    view, behind = memoryview(data), start
    for number, (tile, begin, end) in enumerate(codestream.parts):
        if last[tile] == number:
            # The length of a tile part follows its marker, its own length, and the number of the tile.
            length = struct.pack(">I", end - begin + len(_NO_PACKET))
            yield b"".join((view[behind : begin + 6], length, view[begin + 10 : end], _NO_PACKET))
            behind = end
    yield b"".join((view[behind : codestream.end], EOC))
