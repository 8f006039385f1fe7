"""Open scenes, of one file or of several: read from the beginning of their files what is needed to cut them."""

from __future__ import annotations

from functools import lru_cache

from pipelines.errors import quantity
from pipelines.images.layout import ImageTooLargeError
from pipelines.images.rendering import Rendering
from pipelines.records import ImageRef
from pipelines.scenes.division import Division
from pipelines.scenes.grid import Grid
from pipelines.scenes.sampling import settle
from pipelines.scenes.scene import Scene, open_file, with_blank
from pipelines.scenes.stack import open_stack

_OPEN = 64
"""Scenes whose directories are kept."""
_MOST_WINDOWS = 10_000_000
"""Of a scene: a sparse file of a megabyte can claim to be as wide as a continent, at a centimetre per pixel."""


@lru_cache(maxsize=_OPEN)
def open_scene(ref: ImageRef, grid: Grid, rendering: Rendering, max_pixels: int) -> Scene | None:
    """Read the directories of a scene, once per process: cutting and reading share them.

    Where only its values say how it is shown, some of them are read as well.

    Args:
      ref: the scene.
      grid: of the windows.
      rendering: of rasters that are no picture by themselves.
      max_pixels: the most pixels that are decoded at once.

    Returns:
      None if it is a file that is no scene: not georeferenced, and no larger than a window; or neither TIFF nor JPEG
      2000.

    Raises:
      ImageError: it is damaged, not supported, or its colours are unknown.
      OSError: it cannot be read.
    """
    scene = open_stack(ref, ref.stack, grid, rendering) if ref.stack else open_file(ref, grid, rendering)
    if scene is None:
        return None
    division = scene.division
    _check_part("scene", division.part_width, division.part_height, max_pixels)
    for mask in filter(None, (file.mask for file in scene.files)):
        # Its strips and tiles may be others than those of the scene.
        _check_part("mask of a scene", *division.reach(mask.image.block), max_pixels)
    _check_windows(division)
    return scene if scene.planes else with_blank(settle(scene, grid, stated=ref.item.offset if ref.item else None))


def _check_part(what: str, columns: int, rows: int, max_pixels: int) -> None:
    if columns * rows > max_pixels:
        raise ImageTooLargeError(
            f"{what} of which {columns:,} x {rows:,} pixels have to be decoded at once: exceeds the limit of "
            f"{max_pixels:,} (predict --max_pixels)",
            "rewrite it in tiles, e.g. with gdal_translate -of COG",
        )


def _check_windows(division: Division) -> None:
    windows = -(-division.width // division.grid.stride) * -(-division.height // division.grid.stride)
    if windows > _MOST_WINDOWS:
        raise ImageTooLargeError(
            f"scene of {division.width:,} x {division.height:,} pixels: about {quantity(windows, 'window')}, and the "
            f"limit is {_MOST_WINDOWS:,}",
            "choose a larger --stride",
        )
