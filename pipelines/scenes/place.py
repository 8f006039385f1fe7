"""Read where a scene lies, and nothing else of it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pipelines.images.formats import recognize
from pipelines.images.jpeg2000.layout import read_jpeg2000
from pipelines.images.layout import DamagedImageError, UnsupportedImageError
from pipelines.images.limits import HEAD
from pipelines.images.tiff.directories import read_directory
from pipelines.images.tiff.tags import HEIGHT, WIDTH
from pipelines.records import File
from pipelines.scenes.georeference import Georeference, read_georeference
from pipelines.scenes.jpeg2000 import find_georeference
from pipelines.scenes.pages import open_pages


class Place(NamedTuple):
    """Where a scene lies.

    Attributes:
      width: in pixels.
      height: in pixels.
      georeference: of its pixels; None if it does not say it.
    """

    width: int
    height: int
    georeference: Georeference | None


def read_place(file: File) -> Place:
    """Return where a scene lies, whatever its bands and colours are.

    Raises:
      ImageError: it is damaged, or neither TIFF nor JPEG 2000.
      OSError: it cannot be read.
    """
    pages = open_pages(file)
    kind = recognize(pages[:HEAD])
    try:
        if kind == "tiff":
            directory = read_directory(pages)
            width, height = directory.tags[WIDTH][0], directory.tags[HEIGHT][0]
            return Place(width, height, read_georeference(directory.texts, directory.form.order))
        if kind == "jpeg2000":
            layout = read_jpeg2000(pages)
            return Place(layout.width, layout.height, find_georeference(pages))
    except (struct.error, LookupError, OverflowError) as error:
        raise DamagedImageError(f"truncated {kind.upper()} header") from error
    raise UnsupportedImageError("neither TIFF nor JPEG 2000")
