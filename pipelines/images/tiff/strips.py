"""Check that the strips or tiles of a TIFF hold its whole picture: decoders fill what is missing with anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.jpeg.layout import read_piece
from pipelines.images.jpeg.scans import check_scans, in_one_scan, interval_ends
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, JpegPiece, UnsupportedImageError
from pipelines.images.tiff.tags import (
    BITS,
    COMPRESSION,
    DEFLATE,
    HEIGHT,
    JPEG,
    LZMA,
    LZW,
    OLD_DEFLATE,
    PHOTOMETRIC,
    PLANES,
    PREDICTOR,
    RGB,
    SAMPLES,
    SEPARATE_PLANES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    TILE_WIDTH,
    UNCOMPRESSED,
    WIDTH,
    ZSTD,
    Tags,
)

_PREDICTED = (LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD)
# A tile is unpacked whole, however small the image is; 16 million pixels take 64 MB.
_MOST_TILE_PIXELS = 4096 * 4096
# Each JPEG may have to be decoded with the tables to see whether it is whole. The largest image that is decoded has
# 3,900 tiles of the usual size, and all tables that a JPEG can have are 2,700 bytes.
_MOST_JPEGS = 10_000
_MOST_TABLE_BYTES = 4096
_RESTART_INTERVAL = b"\xff\xdd"


class Grid(NamedTuple):
    """How an image is divided.

    Attributes:
      what: `strip` or `tile`.
      columns: of a piece.
      rows: of a piece; the last strip may have fewer.
      number: of pieces.
      down: pieces one below the other.
      offsets: byte at which each piece begins.
      sizes: bytes of each piece; empty if the file does not say.
    """

    what: str
    columns: int
    rows: int
    number: int
    down: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def rows_of(self, number: int, height: int) -> int:
        """Return the rows of a piece of an image of this height."""
        is_last_strip = self.what == "strip" and number % self.down == self.down - 1
        return height - self.rows * (self.down - 1) if is_last_strip else self.rows


def check_pieces(data: bytes, tags: Tags, tables: bytes) -> None:
    """Refuse a TIFF with short strips or tiles.

    Args:
      data: the file.
      tags: of the file, with as many strips or tiles as it must have.
      tables: a JPEG of tables alone, which those in the file share; empty if there is none.

    Raises:
      DamagedImageError: a strip or tile ends before its last pixel.
      ImageTooLargeError: there are too many JPEGs to check.
    """
    grid = read_grid(tags)
    if tags.get(COMPRESSION, (1,))[0] == UNCOMPRESSED:
        _check_uncompressed(data, tags, grid)
    if tags.get(COMPRESSION, (1,))[0] == JPEG:
        _check_jpegs(data, tags, tables, grid)


def samples_per_piece(tags: Tags) -> int:
    """Return the samples per pixel of a strip or tile."""
    return 1 if tags.get(PLANES, (1,))[0] == SEPARATE_PLANES else tags.get(SAMPLES, (1,))[0]


def read_predictor(tags: Tags) -> int:
    """Return what was done to samples before they were compressed; nothing, 1, where the code knows of no predictor.

    libtiff, and so every reader made of it, ignores the tag there.
    """
    return tags.get(PREDICTOR, (1,))[0] if tags.get(COMPRESSION, (1,))[0] in _PREDICTED else 1


def read_jpegs(tags: Tags, planes: Sequence[int], tables: bytes, data: bytes) -> Iterator[JpegPiece]:
    """Yield the JPEG of every strip or tile that is decoded.

    Args:
      tags: of the file.
      planes: as for `pick_planes`.
      tables: as for `check_pieces`.
      data: the file.
    """
    grid = read_grid(tags)
    separate = tags.get(PLANES, (1,))[0] == SEPARATE_PLANES
    per_plane = grid.number // (tags[SAMPLES][0] if separate else 1)
    across = per_plane // grid.down
    # Where bands follow one another and others are made of them, no pixel can tell.
    is_shown = not separate or (tags[PHOTOMETRIC][0] == RGB and tags[SAMPLES][0] >= len(planes))
    for number, (start, size) in enumerate(zip(grid.offsets, grid.sizes, strict=True)):
        plane, number_in_plane = divmod(number, per_plane)
        if not (start and size) or (planes and plane not in planes):
            continue
        jpeg = data[start : start + size]
        jpeg = tables.rstrip(b"\0")[:-2] + jpeg[2:] if tables else jpeg
        left, top = number_in_plane % across * grid.columns, number_in_plane // across * grid.rows
        ends: Iterable[tuple[int, int]] = [(grid.columns - 1, grid.rows - 1)]
        piece = read_piece(jpeg, 0, len(jpeg)) if _RESTART_INTERVAL in jpeg else None
        if piece:
            ends = interval_ends(*piece[:2])
        # What is beyond the edge of the image cannot be seen; what is at the edge is mostly as gray.
        seen = [(min(left + column, tags[WIDTH][0] - 1), min(top + row, tags[HEIGHT][0] - 1)) for column, row in ends]
        yield JpegPiece(jpeg, seen if is_shown else (), plane if separate else None)


def read_grid(tags: Tags) -> Grid:
    """Read how an image is divided.

    Raises:
      DamagedImageError: the tags contradict each other.
      ImageTooLargeError: the tiles are far larger than the image.
    """
    width, height = tags[WIDTH][0], tags[HEIGHT][0]
    planes = tags.get(SAMPLES, (1,))[0] if tags.get(PLANES, (1,))[0] == SEPARATE_PLANES else 1
    tiled = TILE_WIDTH in tags and TILE_HEIGHT in tags
    columns, rows = width, min(height, tags.get(STRIP_ROWS, (height,))[0])
    if tiled:
        columns, rows = tags[TILE_WIDTH][0], tags[TILE_HEIGHT][0]
    if tiled and columns * rows > max(_MOST_TILE_PIXELS, 4 * width * height):
        raise ImageTooLargeError(f"TIFF of {width} x {height} pixels: its tiles of {columns} x {rows} are too large")
    if columns < 1 or rows < 1 or ((TILE_OFFSETS if tiled else STRIP_OFFSETS) not in tags):
        raise DamagedImageError(f"damaged TIFF: contradictory strips and tiles of {columns} x {rows} pixels")
    down = -(-height // rows)
    return Grid(
        "tile" if tiled else "strip",
        columns,
        rows,
        -(-width // columns) * down * planes,
        down,
        tags.get(TILE_OFFSETS if tiled else STRIP_OFFSETS, ()),
        tags.get(TILE_SIZES if tiled else STRIP_SIZES, ()),
    )


def name_tiles(tags: Tags) -> dict[int, tuple[int, ...]]:
    """Call the places of tiles those of tiles: some old programs write them as those of strips.

    Raises:
      DamagedImageError: the file has both.
    """
    if TILE_OFFSETS in tags and (STRIP_OFFSETS in tags or TILE_WIDTH not in tags or TILE_HEIGHT not in tags):
        raise DamagedImageError("damaged TIFF: contradictory strips and tiles")
    named = dict(tags)
    if TILE_WIDTH in tags and TILE_HEIGHT in tags:
        for tile, strip in ((TILE_OFFSETS, STRIP_OFFSETS), (TILE_SIZES, STRIP_SIZES)):
            if strip in named:
                named[tile] = named.pop(strip)
    return named


def pick_planes(tags: Tags, planes: Sequence[int]) -> Tags:
    """Return the tags of a file with some of its bands, which must follow one another; all of them if none is picked.

    Args:
      tags: of the file.
      planes: numbers of bands, from 0.
    """
    samples = tags.get(SAMPLES, (1,))[0]
    if not planes or tuple(planes) == tuple(range(samples)):
        return tags
    pieces = read_grid(tags).number // samples
    picked = {
        tag: tuple(value for plane in planes for value in tags[tag][plane * pieces : (plane + 1) * pieces])
        for tag in (STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES)
        if tag in tags
    }
    number = len(planes)
    return {
        **tags,
        **picked,
        SAMPLES: (number,),
        BITS: tags[BITS][:1] * number,
        PLANES: (min(number, SEPARATE_PLANES),),
    }


def place_pieces(data: bytes, tags: Tags, pieces: Sequence[bytes]) -> tuple[bytes, Tags]:
    """Append strips or tiles to a file in the place of those that it has; empty ones are left out."""
    offsets_tag, sizes_tag = (TILE_OFFSETS, TILE_SIZES) if TILE_OFFSETS in tags else (STRIP_OFFSETS, STRIP_SIZES)
    starts = accumulate((len(piece) for piece in pieces[:-1]), initial=len(data))
    offsets = tuple(start if piece else 0 for start, piece in zip(starts, pieces, strict=True))
    return b"".join((data, *pieces)), {**tags, offsets_tag: offsets, sizes_tag: tuple(map(len, pieces))}


def unpacked_sizes(tags: Tags, grid: Grid) -> list[int]:
    """Return the bytes of the samples of each strip or tile."""
    row = -(-grid.columns * samples_per_piece(tags) * tags.get(BITS, (1,))[0] // 8)
    plane = [row * grid.rows] * (grid.down - 1) + [row * grid.rows_of(grid.down - 1, tags[HEIGHT][0])]
    return plane * (grid.number // grid.down)


def _check_uncompressed(data: bytes, tags: Tags, grid: Grid) -> None:
    """Pillow reads a strip from its offset on, whatever its size, and so what follows a short one."""
    for number, (start, needed) in enumerate(zip(grid.offsets, unpacked_sizes(tags, grid), strict=True)):
        size = min((grid.sizes[number] if grid.sizes else 0) or needed, len(data) - start)
        if size < needed:
            raise DamagedImageError(
                f"truncated TIFF: {grid.what} {number + 1} of {grid.number} has {max(0, size):,} of "
                f"{quantity(needed, 'byte')}"
            )


def _check_jpegs(data: bytes, tags: Tags, tables: bytes, grid: Grid) -> None:
    """Refuse JPEGs that are not of the size of their strip or tile, or do not hold it.

    libtiff silently leaves uninitialized memory where a smaller JPEG does not fill its strip or tile.
    """
    if tables and not (tables.startswith(b"\xff\xd8") and tables.rstrip(b"\0").endswith(b"\xff\xd9")):
        raise DamagedImageError("damaged TIFF: the tables that its JPEGs share are incomplete")
    if len(tables) > _MOST_TABLE_BYTES or grid.number > _MOST_JPEGS:
        raise ImageTooLargeError(
            f"TIFF of {quantity(grid.number, 'JPEG')} with tables of {quantity(len(tables), 'byte')}: the limits are "
            f"{_MOST_JPEGS:,} and "
            f"{_MOST_TABLE_BYTES:,}"
        )
    # Equal ones may be there once: above all, the one that stands for all that are left out.
    spans = set(zip(grid.offsets, grid.sizes, strict=False))
    if len(grid.offsets) != len(grid.sizes) or sum(size for _, size in spans) > 2 * len(data):
        raise DamagedImageError("damaged TIFF: offsets and sizes of its JPEGs contradict each other")
    rows_of_pieces = (grid.rows_of(number, tags[HEIGHT][0]) for number in range(grid.number))
    for start, size, rows in dict.fromkeys(zip(grid.offsets, grid.sizes, rows_of_pieces, strict=True)):
        piece = read_piece(data, start, start + size)
        # Some programs write the last strip as high as the others; what is below the picture is not read.
        fits = piece and piece[0].width == grid.columns and piece[0].height in (rows, grid.rows)
        if not piece or not fits:
            raise DamagedImageError(f"damaged TIFF: the JPEG at byte {start} is not {grid.columns} x {rows}")
        if not in_one_scan(data, piece[0], piece[2]):
            raise UnsupportedImageError("TIFF whose JPEGs have several scans is not supported")
        check_scans(data, *piece, start + size)
