"""Divide a scene into parts that are read at once, and those into windows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from math import lcm
from typing import NamedTuple

from pipelines.images.parts import Box
from pipelines.scenes.grid import Grid

_TYPICAL_PIXELS = 1 << 22
"""Of a part, where windows and strips are small: few requests, and yet enough parts to share among threads."""
_MOST_PIXELS = 1 << 24
"""Of a part, unless a single row of windows and strips has more."""


class Division(NamedTuple):
    """How a scene is divided.

    Attributes:
      width: columns of the scene.
      height: rows of the scene.
      part_width: columns of a part, except of the last one in a row.
      part_height: rows of a part, except of the last ones.
      grid: of the windows.
    """

    width: int
    height: int
    part_width: int
    part_height: int
    grid: Grid

    def part(self, number: int) -> Box:
        """Return the pixels of a part; parts below one another follow one another."""
        across, down = divmod(number, -(-self.height // self.part_height))
        left, top = across * self.part_width, down * self.part_height
        return Box(left, top, min(left + self.part_width, self.width), min(top + self.part_height, self.height))

    def reach(self, block: tuple[int, int]) -> tuple[int, int]:
        """Return the most columns and rows in whole blocks of another image of this size that parts reach into.

        Args:
          block: columns and rows of a strip or tile of that image.
        """
        columns, rows = (
            max(min(-(-(start + step) // size) * size, side) - start // size * size for start in range(0, side, step))
            for side, step, size in (
                (self.width, self.part_width, block[0]),
                (self.height, self.part_height, block[1]),
            )
        )
        return columns, rows

    def windows(self) -> Iterator[tuple[int, Box]]:
        """Yield each window after the number of the part in which it begins, part by part, row by row.

        Windows may reach into the next parts, and beyond the edges of the scene.
        """
        columns, rows = self.grid.starts(self.width), self.grid.starts(self.height)
        parts = -(-self.width // self.part_width) * -(-self.height // self.part_height)
        for number in range(parts):
            part = self.part(number)
            for top in rows[bisect_left(rows, part.top) : bisect_left(rows, part.bottom)]:
                bottom = top + self.grid.extent(top, self.height)
                for left in columns[bisect_left(columns, part.left) : bisect_left(columns, part.right)]:
                    yield number, Box(left, top, left + self.grid.extent(left, self.width), bottom)

    def parts_of(self, window: Box) -> list[int]:
        """Return the numbers of the parts that a window reaches into."""
        down = -(-self.height // self.part_height)
        right, bottom = min(window.right, self.width), min(window.bottom, self.height)
        return [
            across * down + row
            for across in range(window.left // self.part_width, -(-right // self.part_width))
            for row in range(window.top // self.part_height, -(-bottom // self.part_height))
        ]


def divide_scene(width: int, height: int, block: tuple[int, int], grid: Grid) -> Division:
    """Divide a scene into parts of whole blocks, at least as high as a window.

    Args:
      width: columns of the scene.
      height: rows of the scene.
      block: columns and rows of a strip or tile.
      grid: of the windows.
    """
    block_width, block_height = block
    rows = max(-(-grid.tile // block_height), _TYPICAL_PIXELS // (width * block_height)) * block_height
    columns = width
    if width * rows > _MOST_PIXELS and block_width < width:
        rows = -(-grid.tile // block_height) * block_height
        # Where blocks and windows end together, no block is read twice.
        step = lcm(block_width, grid.stride)
        step = step if step * rows <= _MOST_PIXELS else block_width
        columns = min(width, max(1, _MOST_PIXELS // rows // step) * step)
        columns = max(columns, -(-grid.tile // block_width) * block_width)
    return Division(width, height, columns, min(rows, height), grid)
