"""The masks of scenes, which say which of their pixels hold data: in the file of a scene, or in one next to it."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from pipelines.images.formats import recognize
from pipelines.images.layout import DamagedImageError, UnsupportedImageError
from pipelines.images.limits import HEAD
from pipelines.images.tiff.directories import read_directory
from pipelines.images.tiff.layout import read_tiff
from pipelines.images.tiff.parts import DividedTiff, as_mask, divide
from pipelines.images.tiff.tags import METADATA
from pipelines.records import File
from pipelines.scenes.pages import open_pages

# The flags of a mask that is one for all bands.
_MARK = re.compile(rb'<Item name="INTERNAL_MASK_FLAGS_1"[^>]*>\s*2\s*<')
_SOURCES = ("tiff 1x8", "tiff 1x1")


class Mask(NamedTuple):
    """A mask of a scene.

    Attributes:
      image: how it is stored; a pixel of the scene holds no data where it is 0.
      file: it is in.
    """

    image: DividedTiff
    file: File


def open_mask(file: File, width: int, height: int) -> Mask:
    """Read the directory of a mask that is a file of its own, as GDAL writes it.

    Args:
      file: the mask.
      width: of the scene, in pixels.
      height: likewise.

    Raises:
      ImageError: it is damaged, or no mask of such a scene.
      OSError: it cannot be read.
    """
    pages = open_pages(file)
    kind = recognize(pages[:HEAD])
    if kind != "tiff":
        raise UnsupportedImageError(f"no mask of a scene, which is a TIFF, but {kind.upper()}")
    try:
        directory = read_directory(pages)
        source = read_tiff(pages).source
        image = divide(pages, directory)
    except (struct.error, IndexError, OverflowError) as error:
        raise DamagedImageError("truncated TIFF header") from error
    if source not in _SOURCES:
        raise UnsupportedImageError(f"no mask of a scene, which is a {' or '.join(_SOURCES)}, but {source}")
    check_size((image.width, image.height), (width, height))
    if not _MARK.search(directory.texts.get(METADATA, b"")):
        # GDAL does not take it for a mask either, which may hold classes of pixels, or 0 where there is data.
        raise UnsupportedImageError(
            "no mask of a scene, which has INTERNAL_MASK_FLAGS_1 among its metadata",
            "write it with GDAL or rasterio, or rename it if it is none",
        )
    return Mask(as_mask(image), file)


def check_size(mask: tuple[int, int], scene: tuple[int, int]) -> None:
    """Refuse a mask of other columns and rows than its scene has.

    Raises:
      UnsupportedImageError: it is one.
    """
    if mask != scene:
        (columns, rows), (width, height) = mask, scene
        raise UnsupportedImageError(
            f"mask of {columns:,} x {rows:,} pixels for a scene of {width:,} x {height:,}", "bring it to the same grid"
        )
