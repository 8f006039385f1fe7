"""Open scenes: read from the beginning of a file what is needed to cut it, and later its parts."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import NamedTuple

from pipelines import storage
from pipelines.images.formats import recognize
from pipelines.images.jpeg2000.layout import read_jpeg2000
from pipelines.images.jpeg2000.parts import read_tiles
from pipelines.images.layout import (
    DamagedImageError,
    ImageError,
    ImageTooLargeError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)
from pipelines.images.limits import HEAD
from pipelines.images.parts import Divided
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.images.tiff.directories import read_directory
from pipelines.images.tiff.layout import read_tiff
from pipelines.images.tiff.parts import divide, divide_mask, divide_opacity
from pipelines.images.tiff.rasters import find_raster
from pipelines.images.tiff.strips import HEIGHT, PLANES, SEPARATE_PLANES, WIDTH
from pipelines.records import ImageRef
from pipelines.scenes.division import Division, divide_scene
from pipelines.scenes.georeference import Georeference, read_georeference
from pipelines.scenes.grid import Grid
from pipelines.scenes.jpeg2000 import find_georeference
from pipelines.scenes.pages import Pages
from pipelines.scenes.sampling import settle

_BITS_OF_A_PICTURE = 8
_OPEN = 64
"""Scenes whose directories are kept."""
_MOST_WINDOWS = 10_000_000
"""Of a scene: a sparse file of a megabyte can claim to be as wide as a continent, at a centimetre per pixel."""
_ENDINGS = (".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")


class Scene(NamedTuple):
    """A scene, of which only the directories were read.

    Attributes:
      ref: its file.
      image: how its pixels are stored.
      mask: how the mask is stored that says which of them hold data; None if there is none.
      bands: numbers of the bands that are needed, from 0; all if empty.
      source: as in `images.Decoded`.
      repairs: names of what is left out of the file.
      rendering: how its parts become pictures, if they are none by themselves.
      georeference: where the scene lies; None if the file does not say it.
      division: of the scene into parts and windows.
    """

    ref: ImageRef
    image: Divided
    mask: Divided | None
    bands: tuple[int, ...]
    source: str
    repairs: tuple[str, ...]
    rendering: Rendering
    georeference: Georeference | None
    division: Division


def may_be_scene(path: str) -> bool:
    """Return whether a file may be one, judging by its name."""
    return path.lower().endswith(_ENDINGS)


@lru_cache(maxsize=_OPEN)
def open_scene(ref: ImageRef, grid: Grid, rendering: Rendering, max_pixels: int) -> Scene | None:
    """Read the directories of a scene, once per process: who cuts it and who reads it may share them.

    Args:
      ref: the file.
      grid: of the windows.
      rendering: of rasters that are no picture by themselves.
      max_pixels: the most pixels that are decoded at once.

    Returns:
      None if the file is no scene: not georeferenced, and no larger than a window; or neither TIFF nor JPEG 2000.

    Raises:
      ImageError: it is damaged, not supported, or its colours are unknown.
      OSError: it cannot be read.
    """
    pages = Pages(partial(storage.read_range, ref.path, fingerprint=ref.fingerprint), ref.size)
    try:
        kind = recognize(pages[:HEAD])
    except ImageError:
        # Its decoder knows the reason.
        return None
    if kind not in ("tiff", "jpeg2000"):
        return None
    with as_listed(ref):
        try:
            scene = _open_tiff(ref, pages, grid, rendering) if kind == "tiff" else _open_jpeg2000(ref, pages, grid)
        except (struct.error, IndexError, OverflowError) as error:
            raise DamagedImageError(f"truncated {kind.upper()} header") from error
    if scene:
        _check_parts(scene.division, max_pixels)
    return scene


@contextmanager
def as_listed(ref: ImageRef) -> Iterator[None]:
    """Name the reason if a scene seems to be truncated because a bucket lists fewer bytes than it sends.

    Raises:
      UnsupportedImageError: it does.
      OSError: the scene cannot be read.
    """
    try:
        yield
    except DamagedImageError:
        if storage.is_remote(ref.path) and storage.look_up(ref.path).marked:
            raise UnsupportedImageError(
                "scene that its bucket stores compressed: it is unknown where in it parts lie",
                "store it without Content-Encoding: gzip",
            ) from None
        raise


def _open_jpeg2000(ref: ImageRef, pages: Pages, grid: Grid) -> Scene | None:
    georeference = find_georeference(pages)
    layout = read_jpeg2000(pages)
    if georeference is None and max(layout.width, layout.height) <= grid.tile:
        return None
    _check_depth(layout)
    image = read_tiles(pages)
    division = divide_scene(image.width, image.height, image.block, grid)
    return Scene(ref, image, None, (), layout.source, (), NO_RENDERING, georeference, division)


def _check_depth(layout: Layout) -> None:
    if layout.bits > _BITS_OF_A_PICTURE and not layout.render:
        # The values of one part do not tell what white is in the others.
        raise UntrustedColoursError(
            f"{layout.bits}-bit scene: it is unknown how bright white is",
            "say it with --stretch" if layout.format == "tiff" else "make it a TIFF, and say --stretch",
        )


def _check_parts(division: Division, max_pixels: int) -> None:
    if division.part_width * division.part_height > max_pixels:
        raise ImageTooLargeError(
            f"scene of which {division.part_width:,} x {division.part_height:,} pixels have to be decoded at once: "
            f"exceeds the limit of {max_pixels:,} (predict --max_pixels)",
            "rewrite it in tiles, e.g. with gdal_translate -of COG",
        )
    windows = -(-division.width // division.grid.stride) * -(-division.height // division.grid.stride)
    if windows > _MOST_WINDOWS:
        raise ImageTooLargeError(
            f"scene of {division.width:,} x {division.height:,} pixels: about {windows:,} windows, and the limit is "
            f"{_MOST_WINDOWS:,}",
            "choose a larger --stride",
        )


def _open_tiff(ref: ImageRef, pages: Pages, grid: Grid, rendering: Rendering) -> Scene | None:
    directory = read_directory(pages)
    georeference = read_georeference(directory.texts, directory.form.order)
    layout_size = [directory.tags.get(tag, (0,))[0] for tag in (WIDTH, HEIGHT)]
    if georeference is None and max(layout_size) <= grid.tile:
        return None
    layout = read_tiff(pages, rendering)
    _check_depth(layout)
    image = divide(pages, directory)
    division = divide_scene(image.width, image.height, image.block, grid)
    raster = find_raster(directory, rendering)
    separate = directory.tags.get(PLANES, (1,))[0] == SEPARATE_PLANES
    bands = raster.bands if raster and raster.number > 1 and separate else ()
    mask = divide_mask(pages, image)
    if mask is None and layout.opacity and not layout.is_premultiplied:
        mask = divide_opacity(image, layout.opacity)
        # Nothing else is needed of what follows the colours.
        bands = tuple(range(layout.opacity)) if mask else bands
    if raster and not raster.is_settled:
        is_larger = max(image.width, image.height) > grid.tile
        rendering = settle(rendering, raster, pages, image, mask, of_scene=is_larger)
    repairs = ("first_frame",) if directory.pictures > 1 else ()
    return Scene(ref, image, mask, bands, layout.source, repairs, rendering, georeference, division)
