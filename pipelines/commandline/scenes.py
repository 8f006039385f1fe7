"""The flags that say how scenes are cut into windows, for every command that tags."""

from __future__ import annotations

import argparse

from pipelines.commandline.parser import UsageError
from pipelines.scenes.grid import EDGES, NO_GRID, SHIFT, Grid

_LEAST, _MOST = 16, 8192


def add_scenes(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser."""
    group = parser.add_argument_group(
        "scenes",
        "How TIFFs and JPEG 2000s that are georeferenced, or larger than a tile, are cut into windows, each of them\n"
        "tagged as an image named SCENE#xywh=COLUMN,ROW,WIDTH,HEIGHT. See docs/scenes.md.",
    )
    group.add_argument(
        "--tile", type=int, metavar="PIXELS", help="cut scenes into windows of this size (default: do not cut)"
    )
    group.add_argument(
        "--stride", type=int, metavar="PIXELS", help="pixels from one window to the next (default: --tile)"
    )
    group.add_argument(
        "--min_valid",
        type=float,
        metavar="SHARE",
        help=f"leave out windows of which less holds data (default {NO_GRID.min_valid})",
    )
    group.add_argument(
        "--edge",
        choices=EDGES,
        help="at the edges of a scene, shift windows back into it, pad them with black, or drop them "
        f"(default {SHIFT})",
    )
    group.add_argument(
        "--asset",
        metavar="KEY",
        help="take inputs that end in .json or .geojson for STAC items, item collections or catalogues, and tag the "
        "asset that each item has under this key, e.g. visual",
    )


def read_grid(tile: int | None, stride: int | None, min_valid: float | None, edge: str | None) -> Grid:
    """Read the values of the flags.

    Raises:
      UsageError: a value is out of its range, or has no meaning without `--tile`.
    """
    if tile is None:
        for flag, value in (("--stride", stride), ("--min_valid", min_valid), ("--edge", edge)):
            if value is not None:
                raise UsageError(f"{flag} has no meaning without --tile", "add --tile, e.g. --tile 256")
        return NO_GRID
    for flag, pixels in (("--tile", tile), ("--stride", tile if stride is None else stride)):
        if not _LEAST <= pixels <= _MOST:
            raise UsageError(f"{flag} must be between {_LEAST} and {_MOST:,} pixels, not {pixels:,}")
    if min_valid is not None and not 0 <= min_valid <= 1:
        raise UsageError(f"--min_valid must be between 0 and 1, not {min_valid}")
    return Grid(
        tile,
        tile if stride is None else stride,
        NO_GRID.min_valid if min_valid is None else min_valid,
        SHIFT if edge is None else edge,
    )
