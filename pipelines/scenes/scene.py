"""Open scenes: read from the beginning of a file what is needed to cut it, and later its parts."""

from __future__ import annotations

import struct
from functools import partial
from typing import NamedTuple

from pipelines import storage
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UntrustedColoursError
from pipelines.images.rendering import Rendering
from pipelines.images.tiff.directories import read_directory
from pipelines.images.tiff.layout import read_tiff
from pipelines.images.tiff.parts import Divided, divide, divide_mask
from pipelines.images.tiff.rendering import find_raster
from pipelines.images.tiff.strips import HEIGHT, PLANES, SEPARATE_PLANES, WIDTH
from pipelines.records import ImageRef
from pipelines.scenes.division import Division, divide_scene
from pipelines.scenes.georeference import Georeference, read_georeference
from pipelines.scenes.grid import Grid
from pipelines.scenes.pages import Pages

_BITS_OF_A_PICTURE = 8
_ENDINGS = (".tif", ".tiff")


class Scene(NamedTuple):
    """A scene, of which only the directories were read.

    Attributes:
      ref: its file.
      image: how its pixels are stored.
      mask: how the mask is stored that says which of them hold data; None if there is none.
      bands: numbers of the bands that are needed, from 0; all if empty.
      source: as in `images.Decoded`.
      repairs: names of what is left out of the file.
      georeference: where the scene lies; None if the file does not say it.
      division: of the scene into parts and windows.
    """

    ref: ImageRef
    image: Divided
    mask: Divided | None
    bands: tuple[int, ...]
    source: str
    repairs: tuple[str, ...]
    georeference: Georeference | None
    division: Division


def may_be_scene(path: str) -> bool:
    """Return whether a file may be one, judging by its name."""
    return path.lower().endswith(_ENDINGS)


def open_scene(ref: ImageRef, grid: Grid, rendering: Rendering, max_pixels: int) -> Scene | None:
    """Read the directories of a scene.

    Args:
      ref: the file.
      grid: of the windows.
      rendering: of rasters that are no picture by themselves.
      max_pixels: the most pixels that are decoded at once.

    Returns:
      None if the file is no scene: not georeferenced, and no larger than a window; or no TIFF at all.

    Raises:
      ImageError: it is damaged, not supported, or its colours are unknown.
      OSError: it cannot be read.
    """
    pages = Pages(partial(storage.read_range, ref.path, fingerprint=ref.fingerprint), ref.size)
    if pages[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        return _open(ref, pages, grid, rendering, max_pixels)
    except (struct.error, IndexError, OverflowError) as error:
        raise DamagedImageError("truncated TIFF header") from error


def _open(ref: ImageRef, pages: Pages, grid: Grid, rendering: Rendering, max_pixels: int) -> Scene | None:
    directory = read_directory(pages)
    georeference = read_georeference(directory.texts, directory.form.order)
    layout_size = [directory.tags.get(tag, (0,))[0] for tag in (WIDTH, HEIGHT)]
    if georeference is None and max(layout_size) <= grid.tile:
        return None
    layout = read_tiff(pages, rendering)
    if layout.bits > _BITS_OF_A_PICTURE and not layout.render:
        # The values of one part do not tell what white is in the others.
        raise UntrustedColoursError(
            f"{layout.bits}-bit scene: it is unknown how bright white is", "say it with --stretch or --product"
        )
    image = divide(pages, directory)
    division = divide_scene(image.width, image.height, (image.grid.columns, image.grid.rows), grid)
    largest = division.part_width * division.part_height
    if largest > max_pixels:
        raise ImageTooLargeError(
            f"scene of which {division.part_width:,} x {division.part_height:,} pixels have to be decoded at once: "
            f"exceeds the limit of {max_pixels:,} (predict --max_pixels)",
            "rewrite it in tiles, e.g. with gdal_translate -of COG",
        )
    raster = find_raster(directory, rendering)
    separate = directory.tags.get(PLANES, (1,))[0] == SEPARATE_PLANES
    bands = raster.bands if raster and raster.number > 1 and separate else ()
    repairs = ("first_frame",) if directory.pictures > 1 else ()
    return Scene(ref, image, divide_mask(pages, image), bands, layout.source, repairs, georeference, division)
