"""Make JPEG 2000 files of some tiles of a JPEG 2000; ITU-T T.800, annex A.

A part keeps the places of its tiles on the reference grid: code blocks and precincts are counted from its origin, and
so is the parity of the wavelet transform.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.jpeg2000.codestream import (
    EOC,
    MOST_PARTS,
    MOST_SEGMENTS,
    MOST_TILES,
    SOT,
)
from pipelines.images.jpeg2000.layout import walk_boxes, write_start
from pipelines.images.jpeg2000.size import SIGNATURE, Size, read_size
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UnsupportedImageError
from pipelines.images.parts import Box, Data, Part

# Lengths of tile parts and of packets, which are those of the whole file.
_TLM, _PLM, _PPM = b"\xff\x55", b"\xff\x57", b"\xff\x60"
_SOT_SIZE = 12
_MOST_HEADER = 1 << 24


class DividedJpeg2000(NamedTuple):
    """A JPEG 2000 of which tiles are read.

    Attributes:
      size: of the image and its tiles.
      header: the main header of the codestream, without what is true of the whole file alone.
      boxes: the content of the header box around the codestream; empty if there is none.
      spans: first byte and number of bytes of each part of each tile.
      length: of the file, in bytes.
    """

    size: Size
    header: bytes
    boxes: bytes
    spans: Mapping[int, Sequence[tuple[int, int]]]
    length: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.size.width

    @property
    def height(self) -> int:
        """Rows."""
        return self.size.height

    @property
    def block(self) -> tuple[int, int]:
        """Columns and rows of a tile."""
        return self.size.step

    @property
    def stored(self) -> int:
        """Bytes that the decoder needs for the samples of a pixel: it takes them for integers."""
        return 4 * len(self.size.bits)

    def find_part(self, box: Box, bands: Sequence[int] = ()) -> Part:
        """Find the tiles in which some pixels lie.

        Args:
          box: the pixels.
          bands: all are in each tile.

        Raises:
          DamagedImageError: one of them is missing, or the file ends in it.
        """
        columns, rows = _tiles_of(self, box)
        spans: list[tuple[int, int]] = []
        for row in rows:
            for column in columns:
                number = row * self.size.tiles[0] + column
                found = self.spans.get(number)
                if not found:
                    raise DamagedImageError(f"truncated JPEG 2000: tile {number + 1} is missing")
                if any(sum(span) > self.length for span in found):
                    raise DamagedImageError(f"truncated JPEG 2000: its data ends within tile {number + 1}")
                spans += found
        left, top, right, bottom = _bounds(self, columns, rows)
        across, down = self.size.origin[:2]
        return Part(Box(left - across, top - down, right - across, bottom - down), tuple(spans), ())

    def write_part(self, part: Part, pieces: Sequence[bytes | memoryview]) -> bytes:
        """Write a JPEG 2000 of some tiles.

        Args:
          part: the tiles.
          pieces: the bytes of each of the part's spans.

        Raises:
          DamagedImageError: a piece has fewer bytes than it should.
        """
        columns, rows = _tiles_of(self, part.box)
        left, top, right, bottom = _bounds(self, columns, rows)
        across, down = self.size.step
        tile_left, tile_top = self.size.origin[2] + columns.start * across, self.size.origin[3] + rows.start * down
        sizes = struct.pack(">8I", right, bottom, left, top, across, down, tile_left, tile_top)
        # Behind the marker of the header and that of the size come the length of its segment, and the capabilities.
        header = b"".join((self.header[:8], sizes, self.header[8 + len(sizes) :]))
        numbers = {row * self.size.tiles[0] + column: None for row in rows for column in columns}
        renumbered = {number: place for place, number in enumerate(numbers)}
        parts: list[bytes | memoryview] = []
        for (start, length), piece in zip(part.spans, pieces, strict=True):
            if len(piece) < length:
                raise DamagedImageError(
                    f"truncated JPEG 2000: the tile part at byte {start:,} has {len(piece):,} of "
                    f"{quantity(length, 'byte')}"
                )
            (number,) = struct.unpack_from(">4xH", piece)
            parts += [struct.pack(">2sHHI", SOT, 10, renumbered[number], length), piece[10:]]
        codestream = (header, *parts, EOC)
        if not self.boxes:
            return b"".join(codestream)
        # The header box begins with that of the image, which begins with height and width.
        boxes = self.boxes[:8] + struct.pack(">II", bottom - top, right - left) + self.boxes[16:]
        return b"".join((*write_start(boxes), *codestream))


def read_tiles(data: Data) -> DividedJpeg2000:
    """Find the tiles of a JPEG 2000; only the beginning of each of their parts is fetched.

    Raises:
      ImageError: it is damaged, or has more tiles than any image.
      struct.error: it ends in its headers.
    """
    start, boxes = _find_codestream(data)
    size = read_size(data, start)
    tiles = size.tiles[0] * size.tiles[1]
    if tiles > MOST_TILES:
        raise ImageTooLargeError(f"JPEG 2000 of {quantity(tiles, 'tile')}: the limit is {MOST_TILES:,}")
    header, at = _read_header(data, start)
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for _ in range(MOST_PARTS):
        head = data[at : at + _SOT_SIZE]
        if head[:2] != SOT:
            break
        tile, length = struct.unpack_from(">4xHI", head)
        # The last part may leave its length open.
        length = length or len(data) - at - len(EOC)
        if tile >= tiles or length <= _SOT_SIZE:
            raise DamagedImageError(f"damaged JPEG 2000: no tile part at byte {at}")
        spans[tile].append((at, length))
        at += length
    return DividedJpeg2000(size, header, boxes, dict(spans), len(data))


def _find_codestream(data: Data) -> tuple[int, bytes]:
    """Return the first byte of the codestream, and the content of the header box before it."""
    if data[:4] == SIGNATURE:
        return 0, b""
    boxes = b""
    for name, start, end in walk_boxes(data, 0, len(data)):
        if name == b"jp2h" and not boxes:
            if end - start > _MOST_HEADER:
                raise ImageTooLargeError(f"JPEG 2000 whose header has {quantity(end - start, 'byte')}")
            boxes = data[start:end]
        if name == b"jp2c":
            if boxes[4:8] != b"ihdr" or len(boxes) < 22:
                raise DamagedImageError("damaged JPEG 2000: its header does not begin with its size")
            return start, boxes
    raise DamagedImageError("damaged JPEG 2000: it holds no codestream")


def _read_header(data: Data, start: int) -> tuple[bytes, int]:
    """Return the main header as parts of the image have it, and the byte at which the first tile part begins."""
    at, kept = start + 2, [data[start : start + 2]]
    for _ in range(MOST_SEGMENTS):
        marker, (length,) = data[at : at + 2], struct.unpack(">H", data[at + 2 : at + 4])
        if marker == SOT:
            return b"".join(kept), at
        if marker == _PPM:
            raise UnsupportedImageError("JPEG 2000 whose packet headers are packed is not cut")
        if marker[:1] != b"\xff" or length < 2:
            raise DamagedImageError(f"damaged JPEG 2000: no marker segment at byte {at}")
        if marker not in (_TLM, _PLM):
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    raise DamagedImageError(f"damaged JPEG 2000: more than {MOST_SEGMENTS:,} marker segments")


def _tiles_of(image: DividedJpeg2000, wanted: Box) -> tuple[range, range]:
    """Return the columns and rows of tiles in which pixels lie."""
    left, top, tile_left, tile_top = image.size.origin
    across, down = image.size.step
    shift_left, shift_top = left - tile_left, top - tile_top
    return (
        range((wanted.left + shift_left) // across, -(-(wanted.right + shift_left) // across)),
        range((wanted.top + shift_top) // down, -(-(wanted.bottom + shift_top) // down)),
    )


def _bounds(image: DividedJpeg2000, columns: range, rows: range) -> tuple[int, int, int, int]:
    """Return where tiles lie on the reference grid, as far as they are of the image."""
    left, top, tile_left, tile_top = image.size.origin
    across, down = image.size.step
    return (
        max(left, tile_left + columns.start * across),
        max(top, tile_top + rows.start * down),
        min(left + image.size.width, tile_left + columns.stop * across),
        min(top + image.size.height, tile_top + rows.stop * down),
    )
