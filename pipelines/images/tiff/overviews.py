"""Find the smaller versions of an image that a TIFF holds, and their masks."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pipelines.images.layout import ImageError
from pipelines.images.parts import Data
from pipelines.images.tiff.directories import Directory, find_reduced, read_at
from pipelines.images.tiff.parts import DividedTiff, divide, divide_mask
from pipelines.images.tiff.tags import BITS, COMPRESSION, HEIGHT, PHOTOMETRIC, SAMPLE_FORMAT, SAMPLES, WIDTH

_ALIKE = (SAMPLES, BITS, SAMPLE_FORMAT, PHOTOMETRIC, COMPRESSION)


def divide_overviews(data: Data, image: DividedTiff) -> Iterator[tuple[DividedTiff, DividedTiff | None]]:
    """Yield how the overviews of an image are divided, each with its mask if the image has one.

    Those that are damaged, of another shape or type, or without the mask that the image has, are left out.

    Args:
      data: the file.
      image: the main one in it.
    """
    pictures, masks = find_reduced(data)
    for start in pictures:
        try:
            directory = read_at(data, image.directory.form, start)
            if not _is_of(directory, image):
                continue
            # What is said of the values is said of the image, and holds for its overviews.
            overview = divide(data, directory._replace(texts=image.directory.texts))
            mask = divide_mask(data, overview, masks) if image.directory.has_mask else None
            if mask or not image.directory.has_mask:
                yield overview, mask
        except (ImageError, struct.error, IndexError, OverflowError):
            continue


def _is_of(directory: Directory, image: DividedTiff) -> bool:
    """Return whether an overview may be of an image, judging by its tags."""
    tags = directory.tags
    if any(tags.get(tag) != image.directory.tags.get(tag) for tag in _ALIKE) or not {WIDTH, HEIGHT} <= tags.keys():
        return False
    width, height = tags[WIDTH][0], tags[HEIGHT][0]
    # Each side may be rounded to the next pixel.
    is_similar = abs(image.height * width - image.width * height) <= image.width + image.height
    return is_similar and 0 < width < image.width and 0 < height < image.height
