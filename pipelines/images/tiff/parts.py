"""Make TIFFs of parts of a TIFF, so that a raster of any size is read with the checks and repairs of a small one.

A part consists of whole strips or tiles, as they are stored, under a directory of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from math import gcd
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError, UnsupportedImageError
from pipelines.images.parts import Box, Data, Part
from pipelines.images.tiff.directories import INTEGERS, Directory, read_at
from pipelines.images.tiff.places import check_places
from pipelines.images.tiff.rewriting import HEADER, Field, write_tiff
from pipelines.images.tiff.strips import Grid, name_tiles, read_grid, unpacked_sizes
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA,
    HEIGHT,
    METADATA,
    NO_DATA,
    ORIENTATION,
    PHOTOMETRIC,
    PLANES,
    PROFILE,
    SAMPLE_FORMAT,
    SAMPLES,
    SEPARATE_PLANES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    TILE_OFFSETS,
    TILE_SIZES,
    UNCOMPRESSED,
    WIDTH,
    YCBCR,
    Tags,
)

_ROWS_OF_A_STRIP = 16
# Types of the values of further tags.
_UNDEFINED, _ASCII = 7, 2


class DividedTiff(NamedTuple):
    """An image in a TIFF that is read in parts.

    Attributes:
      directory: of the image.
      tags: of it, with tiles named so, and in strips of a few rows if it is uncompressed.
      grid: how it is divided.
      further: what else its pixels depend on, by tag.
      size: of the file, in bytes.
    """

    directory: Directory
    tags: Tags
    grid: Grid
    further: dict[int, Field]
    size: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.tags[WIDTH][0]

    @property
    def height(self) -> int:
        """Rows."""
        return self.tags[HEIGHT][0]

    @property
    def block(self) -> tuple[int, int]:
        """Columns and rows of a strip or tile."""
        return self.grid.columns, self.grid.rows

    @property
    def stored(self) -> int:
        """Bytes of the samples of a pixel."""
        return -(-self.tags.get(BITS, (1,))[0] // 8) * self.tags.get(SAMPLES, (1,))[0]

    @property
    def is_separate(self) -> bool:
        """Whether each band is stored by itself."""
        return self.tags.get(PLANES, (1,))[0] == SEPARATE_PLANES

    def find_part(self, box: Box, bands: Sequence[int] = ()) -> Part:
        """Find the strips or tiles in which some pixels lie.

        Args:
          box: the pixels.
          bands: numbers of those that are needed, from 0; all if empty.

        Raises:
          DamagedImageError: the file ends before one of them does.
        """
        grid = self.grid
        across = -(-self.width // grid.columns)
        columns = range(box.left // grid.columns, -(-box.right // grid.columns))
        rows = range(box.top // grid.rows, -(-box.bottom // grid.rows))
        spans, holes = [], list[Box]()
        for band in range(grid.number // (across * grid.down)):
            is_needed = not bands or band in bands
            for row in rows:
                for column in columns:
                    number = (band * grid.down + row) * across + column
                    span = (grid.offsets[number], grid.sizes[number]) if is_needed else (0, 0)
                    spans.append(span if all(span) else (0, 0))
                    if sum(spans[-1]) > self.size:
                        raise _truncated(self, *span, self.size - span[0])
                    if is_needed and not all(span):
                        holes.append(_bounds(self, range(column, column + 1), range(row, row + 1)))
        return Part(_bounds(self, columns, rows), tuple(spans), tuple(dict.fromkeys(holes)))

    def write_part(self, part: Part, pieces: Sequence[bytes | memoryview]) -> bytes | None:
        """Write a TIFF of a part of the image.

        Args:
          part: of it.
          pieces: the bytes of each of its spans.

        Returns:
          The file; None if the image leaves out the whole part.

        Raises:
          DamagedImageError: a piece has fewer bytes than it should, or a tag an impossible value.
        """
        if not any(size for _, size in part.spans):
            return None
        at, offsets = HEADER, []
        for (start, size), piece in zip(part.spans, pieces, strict=True):
            if len(piece) < size:
                raise _truncated(self, start, size, len(piece))
            offsets.append(at if size else 0)
            at += size
        is_tiled = TILE_OFFSETS in self.tags
        integers = {
            **{tag: values for tag, values in self.tags.items() if tag in INTEGERS},
            WIDTH: (part.box.width,),
            HEIGHT: (part.box.height,),
            TILE_OFFSETS if is_tiled else STRIP_OFFSETS: tuple(offsets),
            TILE_SIZES if is_tiled else STRIP_SIZES: tuple(size for _, size in part.spans),
        }
        try:
            return write_tiff(self.directory.form.order, pieces, integers, self.further)
        except struct.error as error:
            raise DamagedImageError("damaged TIFF: a tag with an impossible value") from error


def divide(data: Data, directory: Directory) -> DividedTiff:
    """Read how the main image of a TIFF is divided.

    Args:
      data: the file.
      directory: of the image.

    Raises:
      ImageError: it is damaged, or it has to be turned.
    """
    [orientation, *_] = directory.tags.get(ORIENTATION, (1,))
    if orientation != 1:
        raise UnsupportedImageError(f"scene whose orientation tag is {orientation}: only upright scenes are supported")
    return _divide(data, directory)


def divide_mask(data: Data, image: DividedTiff, starts: Iterable[int]) -> DividedTiff | None:
    """Read how the mask of an image is divided; None if none is of its size.

    Args:
      data: the file.
      image: it may be of.
      starts: bytes at which the directories of masks begin.

    Raises:
      ImageError: one of them is damaged.
      struct.error: the file ends in it.
    """
    for start in starts:
        mask = _divide(data, read_at(data, image.directory.form, start))
        if (mask.width, mask.height) == (image.width, image.height):
            return as_mask(mask)
    return None


def as_mask(image: DividedTiff) -> DividedTiff:
    """Let an image of one band be shown as gray, whatever else is said of it: what it masks out is black."""
    further = {tag: values for tag, values in image.further.items() if tag not in (PROFILE, METADATA, NO_DATA)}
    return image._replace(tags={**image.tags, PHOTOMETRIC: (BLACK_IS_ZERO,)}, further=further)


def divide_opacity(image: DividedTiff, band: int) -> DividedTiff | None:
    """Return a band of opacity as a mask, as it is divided; None if it is stored with the colours, pixel by pixel.

    Args:
      image: it is part of.
      band: its number.
    """
    if not image.is_separate:
        return None
    pieces = image.grid.number // image.tags[SAMPLES][0]
    span = slice(band * pieces, (band + 1) * pieces)
    grid = image.grid._replace(number=pieces, offsets=image.grid.offsets[span], sizes=image.grid.sizes[span])
    tags = {tag: values for tag, values in image.tags.items() if tag not in (EXTRA, COLOUR_MAP, SAMPLE_FORMAT)}
    tags |= {SAMPLES: (1,), BITS: tags[BITS][:1], PLANES: (1,)}
    return as_mask(image._replace(tags=tags, grid=grid))


def with_text(image: DividedTiff, tag: int, text: bytes) -> DividedTiff:
    """Let one of the texts on which pixels depend be another one; none if it is empty."""
    further = {other: values for other, values in image.further.items() if other != tag}
    further |= {tag: Field(_ASCII, len(text), text)} if text else {}
    # Its overviews have the texts of its directory.
    texts = {other: said for other, said in image.directory.texts.items() if other != tag}
    directory = image.directory._replace(texts=texts | ({tag: text} if text else {}))
    return image._replace(directory=directory, further=further)


def _truncated(image: DividedTiff, start: int, size: int, there: int) -> DamagedImageError:
    return DamagedImageError(
        f"truncated TIFF: the {image.grid.what} at byte {start:,} has {max(0, there):,} of {quantity(size, 'byte')}"
    )


def _divide(data: Data, directory: Directory) -> DividedTiff:
    tags: Tags = name_tiles({tag: values for tag, values in directory.tags.items() if values})
    if WIDTH not in tags or HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: its width or height is missing")
    grid = read_grid(tags)
    check_places(data, directory, tags)
    if tags.get(COMPRESSION, (1,))[0] == UNCOMPRESSED and tags.get(PHOTOMETRIC, (1,))[0] != YCBCR:
        # Some programs write no sizes, or too large ones. Too small ones are kept: they are damage.
        needed = tuple(unpacked_sizes(tags, grid))
        sizes = tuple(min(size or whole, whole) for size, whole in zip(grid.sizes or needed, needed, strict=True))
        grid = grid._replace(sizes=sizes)
        if grid.what == "strip" and grid.rows > _ROWS_OF_A_STRIP and sizes == needed:
            tags = _with_lower_strips(tags, grid)
            grid = read_grid(tags)
    if not grid.sizes:
        raise DamagedImageError(f"damaged TIFF: the sizes of its {grid.what}s are missing")
    further = {
        tag: Field(entry.type, entry.number, data[entry.start : entry.start + entry.size])
        for tag, entry in directory.entries.items()
        if tag not in INTEGERS
    }
    for tag, kind in ((PROFILE, _UNDEFINED), (METADATA, _ASCII), (NO_DATA, _ASCII)):
        if tag in directory.texts:
            text = directory.texts[tag]
            further[tag] = Field(kind, len(text), text)
    return DividedTiff(directory, tags, grid, further, len(data))


def _with_lower_strips(tags: Tags, grid: Grid) -> Tags:
    """Divide the strips of an uncompressed image into lower ones: some programs write the whole image as one."""
    lower = _ROWS_OF_A_STRIP if grid.down == 1 else gcd(grid.rows, _ROWS_OF_A_STRIP)
    offsets, sizes = list[int](), list[int]()
    for number, (start, size) in enumerate(zip(grid.offsets, grid.sizes, strict=True)):
        rows = grid.rows_of(number, tags[HEIGHT][0])
        of_row = size // rows
        for top in range(0, rows, lower):
            offsets.append(start + top * of_row if start else 0)
            sizes.append(min(lower, rows - top) * of_row)
    return {**tags, STRIP_ROWS: (lower,), STRIP_OFFSETS: tuple(offsets), STRIP_SIZES: tuple(sizes)}


def _bounds(image: DividedTiff, columns: range, rows: range) -> Box:
    grid = image.grid
    return Box(
        columns.start * grid.columns,
        rows.start * grid.rows,
        min(columns.stop * grid.columns, image.width),
        min(rows.stop * grid.rows, image.height),
    )
