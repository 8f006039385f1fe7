"""Where the windows of a scene lie, and how they are named: `scene.tif#xywh=COLUMN,ROW,WIDTH,HEIGHT`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

SHIFT, PAD, DROP = "shift", "pad", "drop"
EDGES = (SHIFT, PAD, DROP)
"""What becomes of windows at the right and lower edges, which a scene seldom fills."""

CLEAR = "udm2:clear>="
"""Before the least share of clear pixels."""

_MARK = "#xywh="
DATA_MASK, CLEAR_MASK = "msk", "udm2"
"""Kinds of masks that fingerprints of windows cover: of the pixels that hold data, and of those that are clear."""
_OF_MASKS = re.compile(rf" ({DATA_MASK}|{CLEAR_MASK}):")
_WINDOW = re.compile(rf"(.+){_MARK}(\d+),(\d+),(\d+),(\d+)", re.ASCII | re.DOTALL)


class Grid(NamedTuple):
    """How scenes are cut into windows.

    Attributes:
      tile: columns and rows of a window, in pixels; 0 if scenes are not cut.
      stride: pixels from one window to the next; less than `tile` if they overlap.
      min_valid: least share of a window that must hold data, 0 to 1.
      edge: one of `EDGES`.
      clear: least share of a window that must be clear by Planet's usable data mask, 0 to 1; 0 if none is asked for.
      nodata: value of the pixels that hold no data, in place of those that files name; None to believe the files.
    """

    tile: int = 0
    stride: int = 0
    min_valid: float = 0.5
    edge: str = SHIFT
    clear: float = 0.0
    nodata: float | None = None

    def __bool__(self) -> bool:
        return self.tile > 0

    def __str__(self) -> str:
        given = f" --mask={CLEAR}{self.clear:g}" if self.clear else ""
        given += "" if self.nodata is None else f" --nodata={self.written_nodata}"
        return f"--tile={self.tile} --stride={self.stride} --min_valid={self.min_valid:g} --edge={self.edge}{given}"

    @property
    def written_nodata(self) -> str:
        """The value for no data as the shortest text that is read as the same number; empty if none is given."""
        return "" if self.nodata is None else repr(float(self.nodata)).removesuffix(".0")

    def starts(self, length: int) -> list[int]:
        """Return where windows begin along one side of a scene.

        A side that is shorter than a window has one that begins at its start, whatever `edge` is.

        Args:
          length: of the side, in pixels.
        """
        if length <= self.tile:
            return [0]
        starts = list(range(0, length - self.tile + 1, self.stride))
        following = starts[-1] + self.stride
        if starts[-1] + self.tile < length and following < length and self.edge != DROP:
            starts.append(length - self.tile if self.edge == SHIFT else following)
        return starts

    def extent(self, start: int, length: int) -> int:
        """Return how many pixels a window spans that begins at `start` along a side of this length."""
        return self.tile if self.edge == PAD else min(self.tile, length - start)

    def divides(self, window: tuple[int, int, int, int], columns: int, rows: int) -> bool:
        """Return whether a window is one of those of a scene.

        Args:
          window: its column, row, width and height.
          columns: of the scene.
          rows: of the scene.
        """
        column, row, width, height = window
        return (
            column in self.starts(columns)
            and row in self.starts(rows)
            and (width, height) == (self.extent(column, columns), self.extent(row, rows))
        )

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        described = self._asdict()
        if not self.clear:
            del described["clear"]
        if self.nodata is None:
            del described["nodata"]
        return described


NO_GRID = Grid()
"""Scenes are not cut."""


def read_grid(described: Any) -> Grid:
    """Return a grid from JSON.

    Raises:
      ValueError: it is malformed.
    """
    try:
        grid = Grid(**described)
    except TypeError as error:
        raise ValueError("not a grid") from error
    sides = (grid.tile, grid.stride)
    if not all(type(side) is int and side > 0 for side in sides) or grid.edge not in EDGES:
        raise ValueError("a grid of an unknown kind")
    if not all(type(share) in (int, float) and 0 <= share <= 1 for share in (grid.min_valid, grid.clear)):
        raise ValueError("a grid with a share beyond 0 and 1")
    if grid.nodata is not None and not (type(grid.nodata) in (int, float) and math.isfinite(grid.nodata)):
        raise ValueError("a grid with a no-data value that is no number")
    return grid


def window_path(scene: str, column: int, row: int, width: int, height: int) -> str:
    """Name a window, as W3C Media Fragments name a region of an image."""
    return f"{scene}{_MARK}{column},{row},{width},{height}"


def cover_mask(fingerprint: str, kind: str, of_mask: str) -> str:
    """Return the fingerprint of windows of a scene that also changes when a mask does.

    Args:
      fingerprint: of the scene, or of the windows without this mask.
      kind: of the mask.
      of_mask: fingerprint of its file.
    """
    return f"{fingerprint} {kind}:{of_mask}"


def without_masks(fingerprint: str) -> str:
    """Return the fingerprint of a scene, given that of one of its windows."""
    return _OF_MASKS.split(fingerprint, maxsplit=1)[0]


def masks_in(fingerprint: str) -> Mapping[str, str]:
    """Return the fingerprints of masks, by their kinds, that the fingerprint of a window covers."""
    _, *masks = _OF_MASKS.split(fingerprint)
    return dict(zip(masks[::2], masks[1::2], strict=True))


def split_window(path: str) -> tuple[str, tuple[int, int, int, int]] | None:
    """Split the path of a window into its scene and its column, row, width and height; None if it is none."""
    # Every path of every earlier row comes here, and a look for the mark takes a fifth of the time of a match.
    match = _WINDOW.fullmatch(path) if _MARK in path else None
    if match is None:
        return None
    column, row, width, height = map(int, match.groups()[1:])
    return match[1], (column, row, width, height)
