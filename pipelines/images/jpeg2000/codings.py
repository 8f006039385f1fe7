"""Read how the components of a JPEG 2000 are coded, and what that takes a decoder; ITU-T T.800, annexes A and B.

OpenJPEG processes all packets that a codestream should have, however early its data ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.jpeg2000.size import Size
from pipelines.images.layout import DamagedImageError, ImageTooLargeError

_COD, _COC = b"\xff\x52", b"\xff\x53"
CODING_SEGMENTS = (_COD, _COC)
"""Markers of the segments that `apply_segments` takes."""

# A decoder keeps a record of each code block (200 bytes) and packet of a tile.
_MOST_RECORDS = 500_000
# Decoding takes 0.2 microseconds for each packet, even an empty one. The largest image that is decoded has a million in
# 20 layers of precincts of 64 x 64.
_MOST_PACKETS = 2_000_000
# Where packets are in the order of their places, a decoder looks for some at each place, of every resolution.
_MOST_PLACES = 10_000_000
# The size of precincts that are as large as can be, as a power of 2.
_LARGEST = (15, 15)

Segment = tuple[bytes, bytes]
"""The marker and the payload of a segment."""
_Spans = Sequence[tuple[int, int]]


class Coding(NamedTuple):
    """How a component is coded.

    Attributes:
      layers: of quality.
      levels: of the wavelet transform.
      block: columns and rows of a code block.
      precincts: columns and rows of those of each resolution, as powers of 2.
    """

    layers: int
    levels: int
    block: tuple[int, int]
    precincts: tuple[tuple[int, int], ...]


class Codings(NamedTuple):
    """How the components of each tile are coded.

    Attributes:
      main: the coding of each component, unless its tile has others.
      of_tiles: those of the tiles that have others, by the number of the tile.
    """

    main: tuple[Coding, ...]
    of_tiles: dict[int, tuple[Coding, ...]]


def apply_segments(segments: Iterable[Segment], components: int, inherited: tuple[Coding, ...]) -> tuple[Coding, ...]:
    """Return the coding of each component after the segments of a header, as a decoder takes them; annex A.6.

    Args:
      segments: in their order.
      components: how many there are.
      inherited: codings of the components before; none if none has been named yet.
    """
    codings = inherited
    for marker, payload in segments:
        if marker == _COD:
            (layers,) = struct.unpack_from(">H", payload, 2)
            codings = (_read_coding(payload[0], layers, payload[5:]),) * components
        elif codings and payload[0] < components:
            # The number of the component takes one byte, since there are at most five.
            coding = _read_coding(payload[1], codings[0].layers, payload[2:])
            codings = (*codings[: payload[0]], coding, *codings[payload[0] + 1 :])
    return codings


def check_work(size: Size, codings: Codings, length: int) -> None:
    """Refuse a codestream that would take a decoder much more work than its size justifies.

    Args:
      size: as it says.
      codings: of its components.
      length: of it, in bytes.

    Raises:
      DamagedImageError: it has more packets than bytes, or does not say how it is coded.
      ImageTooLargeError: it has more code blocks, packets, or places where these may begin than are decoded.
    """
    if not codings.main:
        raise DamagedImageError("damaged JPEG 2000: it does not say how it is coded")
    for different in {codings.main, *codings.of_tiles.values()}:
        records = sum(_count_records(coding, size.tile) for coding in different)
        if records > _MOST_RECORDS:
            raise ImageTooLargeError(
                f"JPEG 2000 with {quantity(records, 'code block or packet', 'code blocks and packets')} in a tile: "
                f"the limit is {_MOST_RECORDS:,}"
            )
        places = _count_places(different, size)
        if places > _MOST_PLACES:
            raise ImageTooLargeError(
                f"JPEG 2000 whose packets may begin at {quantity(places, 'place')}: the limit is {_MOST_PLACES:,}"
            )
    columns, rows = size.tile_spans()
    packets = _count_packets(codings.main, columns, rows)
    for tile, its_own in codings.of_tiles.items():
        row, column = divmod(tile, len(columns))
        place = [columns[column]], [rows[row]]
        packets += _count_packets(its_own, *place) - _count_packets(codings.main, *place)
    # Each takes at least a byte.
    if packets > length:
        raise DamagedImageError(f"truncated JPEG 2000: {quantity(length, 'byte')} for {quantity(packets, 'packet')}")
    if packets > _MOST_PACKETS:
        raise ImageTooLargeError(f"JPEG 2000 of {quantity(packets, 'packet')}: the limit is {_MOST_PACKETS:,}")


def _read_coding(style: int, layers: int, parameters: bytes) -> Coding:
    """Read the parameters of a coding style; annex A.6.1, tables A.15 and A.20."""
    levels, across, down = parameters[0], parameters[1] + 2, parameters[2] + 2
    if levels > 32 or not layers or max(across, down) > 10 or across + down > 12:
        raise DamagedImageError("damaged JPEG 2000: its coding parameters are out of range")
    precincts = (_LARGEST,) * (levels + 1)
    if style & 1:
        sizes = parameters[5 : 6 + levels]
        if len(sizes) != levels + 1:
            raise IndexError
        precincts = tuple((byte & 15, byte >> 4) for byte in sizes)
    return Coding(layers, levels, (1 << across, 1 << down), precincts)


def _count_records(coding: Coding, tile: tuple[int, int]) -> int:
    """Count code blocks and precincts of a component of a tile, at least; annexes B.6 and B.7."""
    records = 0
    for resolution, (right, bottom) in enumerate(coding.precincts):
        shift = coding.levels - resolution
        columns, rows = (max(1, side >> shift) for side in tile)
        halved = min(resolution, 1)
        across, down = (
            min(coding.block[0], 1 << max(0, right - halved)),
            min(coding.block[1], 1 << max(0, bottom - halved)),
        )
        records += -(-columns // across) * -(-rows // down) + -(-columns >> right) * -(-rows >> bottom)
    return records


def _count_places(codings: Sequence[Coding], size: Size) -> int:
    """Count the places at which packets may begin, each once for every resolution there; annex B.12.1.3."""
    steps = [
        (right + coding.levels - resolution, bottom + coding.levels - resolution)
        for coding in set(codings)
        for resolution, (right, bottom) in enumerate(coding.precincts)
    ]
    across, down = (min(step) for step in zip(*steps, strict=True))
    places: int = -(-size.width >> across) * -(-size.height >> down)
    return places * sum(len(coding.precincts) for coding in codings)


def _count_packets(codings: Sequence[Coding], columns: _Spans, rows: _Spans) -> int:
    """Count the packets of the tiles in which these columns and rows of tiles cross; annexes B.5, B.6 and B.9."""
    return sum(codings.count(coding) * _count_packets_of(coding, columns, rows) for coding in set(codings))


def _count_packets_of(coding: Coding, columns: _Spans, rows: _Spans) -> int:
    return coding.layers * sum(
        _count_precincts(columns, coding.levels - resolution, right)
        * _count_precincts(rows, coding.levels - resolution, bottom)
        for resolution, (right, bottom) in enumerate(coding.precincts)
    )


def _count_precincts(spans: _Spans, halvings: int, exponent: int) -> int:
    """Count the precincts that lie side by side in each tile's columns or rows."""
    halved = ((-(-begin >> halvings), -(-end >> halvings)) for begin, end in spans)
    return sum(-(-end >> exponent) - (begin >> exponent) for begin, end in halved if begin < end)
