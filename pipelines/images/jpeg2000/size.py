"""Read the size of a JPEG 2000 and of its tiles; ITU-T T.800, annexes A.5.1 and B.3."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError
from pipelines.images.parts import Data

SIGNATURE = b"\xff\x4f\xff\x51"
_MOST_COMPONENTS = 16384


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

    def tile_spans(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return where each column of tiles, and each row, begins and ends on the reference grid."""
        columns, rows = (
            [
                (max(begin, first + number * step), min(begin + side, first + (number + 1) * step))
                for number in range(count)
            ]
            for begin, side, first, step, count in zip(
                self.origin[:2], (self.width, self.height), self.origin[2:], self.step, self.tiles, strict=True
            )
        )
        return columns, rows


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
        raise DamagedImageError(
            f"damaged JPEG 2000: a size of {quantity(length, 'byte')} for {quantity(count, 'component')}"
        )
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
