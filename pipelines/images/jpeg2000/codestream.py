"""Read the codestream of a JPEG 2000, and check that it holds its whole picture; ITU-T T.800, annexes A and B.

OpenJPEG takes what is missing for empty packets, without an error.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipelines.images.layout import DamagedImageError, ImageTooLargeError
from pipelines.images.parts import Data

SIGNATURE = b"\xff\x4f\xff\x51"
_COD, _COC, SOT, _SOD, EOC = b"\xff\x52", b"\xff\x53", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_MOST_COMPONENTS = 16384
# A decoder keeps a record of each tile (10 KB) and of each code block (200 bytes) and packet of a tile.
MOST_TILES, MOST_PARTS, _MOST_RECORDS = 20_000, 100_000, 500_000
MOST_SEGMENTS = 200_000
# A decoder takes four bytes per sample of a tile, however little data there is. No picture has so many pixels per byte.
_FEW_PIXELS, _MOST_PER_BYTE = 16_000_000, 2000
# As bits of a packet header, ones alone: more bits of length than there may be.
_NO_PACKET = b"\xff\x7f" * 64


class Size(NamedTuple):
    """What the first marker segment (SIZ) says.

    Attributes:
      width: columns.
      height: rows.
      origin: left and top of the image, and of its first tile, on the reference grid.
      step: columns and rows from one tile to the next.
      tile: columns and rows of a tile, as far as they are of the image.
      tiles: how many there are, across and down.
      bits: of the samples of each component.
      signed: whether those of any component are.
      subsampled: whether any component has fewer samples than the image has pixels.
    """

    width: int
    height: int
    origin: tuple[int, int, int, int]
    step: tuple[int, int]
    tile: tuple[int, int]
    tiles: tuple[int, int]
    bits: tuple[int, ...]
    signed: bool
    subsampled: bool


class TilePart(NamedTuple):
    """A part of a tile: the number of the tile, and the bytes at which the part begins and ends."""

    tile: int
    start: int
    end: int


class Coding(NamedTuple):
    """How components are coded.

    Attributes:
      layers: of quality.
      levels: of the wavelet transform.
      block: columns and rows of a code block.
      precincts: columns and rows of those of each resolution, as powers of 2; none if they are as large as can be.
    """

    layers: int
    levels: int
    block: tuple[int, int]
    precincts: tuple[tuple[int, int], ...]


class Codestream(NamedTuple):
    """Where the parts of a codestream are.

    Attributes:
      parts: its tile parts.
      codings: all that it names.
      end: byte at which its end marker begins, or would begin.
    """

    parts: tuple[TilePart, ...]
    codings: tuple[Coding, ...]
    end: int


def read_size(data: Data, start: int) -> Size:
    """Read the size of the codestream that begins at a byte; annex A.5.1.

    Raises:
      DamagedImageError: it has no pixels, or another number of components than it says.
    """
    if data[start : start + 4] != SIGNATURE:
        raise DamagedImageError("damaged JPEG 2000: its codestream does not begin with a size")
    head = data[start + 4 : start + 42]
    length, right, bottom, left, top, *tile, tile_left, tile_top, count = struct.unpack(">H2x8IH", head)
    if length != 38 + 3 * count or not 0 < count <= _MOST_COMPONENTS:
        raise DamagedImageError(f"damaged JPEG 2000: a size of {length} bytes for {count} components")
    components = list(struct.iter_unpack(">BBB", data[start + 42 : start + 42 + 3 * count]))
    if len(components) != count:
        raise IndexError
    across, down = tile
    if not (tile_left <= left < min(right, tile_left + across) and tile_top <= top < min(bottom, tile_top + down)):
        raise DamagedImageError("damaged JPEG 2000: its tiles do not cover the image")
    return Size(
        right - left,
        bottom - top,
        (left, top, tile_left, tile_top),
        (across, down),
        (min(across, right - left), min(down, bottom - top)),
        (-(-(right - tile_left) // across), -(-(bottom - tile_top) // down)),
        tuple((depth & 0x7F) + 1 for depth, _, _ in components),
        any(depth & 0x80 for depth, _, _ in components),
        any(steps != [1, 1] for _, *steps in components),
    )


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
        raise ImageTooLargeError(f"JPEG 2000 of {tiles:,} tiles: the limit is {MOST_TILES:,}")
    pixels = size.width * size.height
    if pixels > max(_FEW_PIXELS, _MOST_PER_BYTE * (end - start)):
        raise ImageTooLargeError(f"JPEG 2000 of {pixels:,} pixels in {end - start:,} bytes: it holds no picture")
    codings: list[Coding] = []
    at, left = _read_segments(data, start + 2, end, SOT, codings, MOST_SEGMENTS)
    parts: list[TilePart] = []
    while data[at : at + 2] == SOT:
        tile, length = struct.unpack_from(">4xHI", data, at)
        packets, left = _read_segments(data, at + 12, end, _SOD, codings, left)
        packets += 2
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
        raise DamagedImageError(f"truncated JPEG 2000: {missing:,} of its {tiles:,} tiles are missing")
    _check_records(size, codings, end - start)
    return Codestream(tuple(parts), tuple(codings), at)


def _read_segments(data: bytes, at: int, end: int, last: bytes, codings: list[Coding], most: int) -> tuple[int, int]:
    """Read marker segments up to a marker, and note the codings they name.

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
        payload = data[at + 4 : at + 2 + length]
        if marker == _COD:
            codings.append(_read_coding(payload[0], struct.unpack_from(">H", payload, 2)[0], payload[5:]))
        elif marker == _COC and codings:
            # The number of the component takes one byte, since there are at most four.
            codings.append(_read_coding(payload[1], codings[0].layers, payload[2:]))
        at += 2 + length
    raise DamagedImageError(f"damaged JPEG 2000: more than {MOST_SEGMENTS:,} marker segments")


def _read_coding(style: int, layers: int, parameters: bytes) -> Coding:
    """Read the parameters of a coding style; annex A.6.1, tables A.15 and A.20."""
    levels, across, down = parameters[0], parameters[1] + 2, parameters[2] + 2
    if levels > 32 or not layers or max(across, down) > 10 or across + down > 12:
        raise DamagedImageError("damaged JPEG 2000: its coding parameters are out of range")
    sizes = parameters[5 : 6 + levels] if style & 1 else b""
    if style & 1 and len(sizes) != levels + 1:
        raise IndexError
    return Coding(layers, levels, (1 << across, 1 << down), tuple((byte & 15, byte >> 4) for byte in sizes))


def _check_records(size: Size, codings: Sequence[Coding], length: int) -> None:
    """Refuse a codestream with more packets than bytes, or a tile of more code blocks and packets than are decoded."""
    if not codings:
        raise DamagedImageError("damaged JPEG 2000: it does not say how it is coded")
    components, (across, down) = len(size.bits), size.tile
    records = [_count_records(coding, across, down) for coding in codings]
    most = components * max(blocks + precincts for blocks, precincts in records)
    if most > _MOST_RECORDS:
        raise ImageTooLargeError(
            f"JPEG 2000 with {most:,} code blocks and packets in a tile: the limit is {_MOST_RECORDS:,}"
        )
    whole_tiles = (size.width // across) * (size.height // down)
    packets = (
        components
        * whole_tiles
        * min(coding.layers * precincts for coding, (_, precincts) in zip(codings, records, strict=True))
    )
    if packets > length:
        raise DamagedImageError(f"truncated JPEG 2000: {length:,} bytes for {packets:,} packets")


def _count_records(coding: Coding, width: int, height: int) -> tuple[int, int]:
    """Count code blocks and precincts of a component of a tile, at least; annexes B.6 and B.7."""
    blocks = precincts = 0
    for resolution in range(coding.levels + 1):
        shift = coding.levels - resolution
        columns, rows = max(1, width >> shift), max(1, height >> shift)
        right, bottom = coding.precincts[resolution] if coding.precincts else (15, 15)
        halved = min(resolution, 1)
        across, down = (
            min(coding.block[0], 1 << max(0, right - halved)),
            min(coding.block[1], 1 << max(0, bottom - halved)),
        )
        blocks += -(-columns // across) * -(-rows // down)
        precincts += -(-columns >> right) * -(-rows >> bottom)
    return blocks, precincts


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
