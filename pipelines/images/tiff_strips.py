"""Check that the strips or tiles of a TIFF hold its whole picture: decoders fill what is missing with anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pipelines.images.jpeg import read_piece
from pipelines.images.jpeg_scans import check_scans, in_one_scan, interval_ends
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UnsupportedImageError

WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANES = 256, 257, 258, 259, 277, 284
STRIP_OFFSETS, STRIP_ROWS, STRIP_SIZES = 273, 278, 279
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 322, 323, 324, 325
JPEG = 7
UNCOMPRESSED = 1
_SEPARATE_PLANES = 2
# A tile is unpacked whole, however small the image is; 16 million pixels take 64 MB.
_MOST_TILE_PIXELS = 4096 * 4096
# Each JPEG may have to be decoded with the tables to see whether it is whole. The largest image that is decoded has
# 3,900 tiles of the usual size, and all tables that a JPEG can have are 2,700 bytes.
_MOST_JPEGS = 10_000
_MOST_TABLE_BYTES = 4096
_RESTART_INTERVAL = b"\xff\xdd"

Tags = Mapping[int, tuple[int, ...]]


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


def piece_shape(tags: Tags) -> tuple[int, int, int]:
    """Return the rows, columns and samples per pixel of a strip or tile."""
    grid = read_grid(tags)
    separate = tags.get(PLANES, (1,))[0] == _SEPARATE_PLANES
    return grid.rows, grid.columns, 1 if separate else tags.get(SAMPLES, (1,))[0]


def read_jpegs(tags: Tags, tables: bytes, data: bytes) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
    """Yield the JPEG of every strip or tile, and pixels (column, row) of which one is gray if data is missing.

    Args:
      tags: of the file.
      tables: as for `check_pieces`.
      data: the file.
    """
    grid = read_grid(tags)
    across = grid.number // grid.down
    for number, (start, size) in enumerate(zip(grid.offsets, grid.sizes, strict=True)):
        jpeg = data[start : start + size]
        jpeg = tables.rstrip(b"\0")[:-2] + jpeg[2:] if tables else jpeg
        left, top = number % across * grid.columns, number // across * grid.rows
        ends: Iterable[tuple[int, int]] = [(grid.columns - 1, grid.rows - 1)]
        piece = read_piece(jpeg, 0, len(jpeg)) if _RESTART_INTERVAL in jpeg else None
        if piece:
            ends = interval_ends(*piece[:2])
        # What is beyond the edge of the image cannot be seen; what is at the edge is mostly as gray.
        yield (
            jpeg,
            [(min(left + column, tags[WIDTH][0] - 1), min(top + row, tags[HEIGHT][0] - 1)) for column, row in ends],
        )


def read_grid(tags: Tags) -> Grid:
    """Read how an image is divided.

    Raises:
      DamagedImageError: the tags contradict each other.
      ImageTooLargeError: the tiles are far larger than the image.
    """
    width, height = tags[WIDTH][0], tags[HEIGHT][0]
    planes = tags.get(SAMPLES, (1,))[0] if tags.get(PLANES, (1,))[0] == _SEPARATE_PLANES else 1
    tiled = TILE_WIDTH in tags and TILE_HEIGHT in tags
    columns, rows = width, min(height, tags.get(STRIP_ROWS, (height,))[0])
    if tiled:
        columns, rows = tags[TILE_WIDTH][0], tags[TILE_HEIGHT][0]
    if tiled and columns * rows > max(_MOST_TILE_PIXELS, 4 * width * height):
        raise ImageTooLargeError(f"TIFF of {width} x {height} pixels: its tiles of {columns} x {rows} are too large")
    twice = (TILE_OFFSETS in tags and STRIP_OFFSETS in tags) or (TILE_SIZES in tags and STRIP_SIZES in tags)
    if columns < 1 or rows < 1 or twice or (TILE_OFFSETS in tags and not tiled):
        raise DamagedImageError(f"damaged TIFF: contradictory strips and tiles of {columns} x {rows} pixels")
    down = -(-height // rows)
    return Grid(
        "tile" if tiled else "strip",
        columns,
        rows,
        -(-width // columns) * down * planes,
        down,
        # Some old programs write the offsets of tiles as those of strips, and decoders read them.
        tags.get(TILE_OFFSETS) or tags.get(STRIP_OFFSETS, ()),
        tags.get(TILE_SIZES) or tags.get(STRIP_SIZES, ()),
    )


def unpacked_sizes(tags: Tags, grid: Grid) -> list[int]:
    """Return the bytes of the samples of each strip or tile."""
    samples = 1 if tags.get(PLANES, (1,))[0] == _SEPARATE_PLANES else tags.get(SAMPLES, (1,))[0]
    row = -(-grid.columns * samples * tags.get(BITS, (1,))[0] // 8)
    last_rows = grid.rows if grid.what == "tile" else tags[HEIGHT][0] - grid.rows * (grid.down - 1)
    plane = [row * grid.rows] * (grid.down - 1) + [row * last_rows]
    return plane * (grid.number // grid.down)


def _check_uncompressed(data: bytes, tags: Tags, grid: Grid) -> None:
    """Pillow reads a strip from its offset on, whatever its size, and so what follows a short one."""
    for number, (start, needed) in enumerate(zip(grid.offsets, unpacked_sizes(tags, grid), strict=True)):
        size = min(grid.sizes[number] if grid.sizes else needed, len(data) - start)
        if size < needed:
            raise DamagedImageError(
                f"truncated TIFF: {grid.what} {number + 1} of {grid.number} has {max(0, size):,} of {needed:,} bytes"
            )


def _check_jpegs(data: bytes, tags: Tags, tables: bytes, grid: Grid) -> None:
    """Refuse JPEGs that are not of the size of their strip or tile, or do not hold it.

    libtiff silently leaves uninitialized memory where a smaller JPEG does not fill its strip or tile.
    """
    if tables and not (tables.startswith(b"\xff\xd8") and tables.rstrip(b"\0").endswith(b"\xff\xd9")):
        raise DamagedImageError("damaged TIFF: the tables that its JPEGs share are incomplete")
    if len(tables) > _MOST_TABLE_BYTES or grid.number > _MOST_JPEGS:
        raise ImageTooLargeError(
            f"TIFF of {grid.number:,} JPEGs with tables of {len(tables):,} bytes: the limits are {_MOST_JPEGS:,} and "
            f"{_MOST_TABLE_BYTES:,}"
        )
    if tags.get(PLANES, (1,))[0] != 1:
        raise UnsupportedImageError("JPEG-compressed TIFF with one plane per band is not supported")
    if len(grid.offsets) != len(grid.sizes) or sum(grid.sizes) > 2 * len(data):
        raise DamagedImageError("damaged TIFF: offsets and sizes of its JPEGs contradict each other")
    for number, (start, size) in enumerate(zip(grid.offsets, grid.sizes, strict=True)):
        rows = grid.rows if grid.what == "tile" else min(grid.rows, tags[HEIGHT][0] - number * grid.rows)
        piece = read_piece(data, start, start + size)
        if piece is None or (piece[0].width, piece[0].height) != (grid.columns, rows):
            raise DamagedImageError(f"damaged TIFF: the JPEG at byte {start} is not {grid.columns} x {rows}")
        if not in_one_scan(data, piece[0], piece[2]):
            raise UnsupportedImageError("TIFF whose JPEGs have several scans is not supported")
        check_scans(data, *piece, start + size)
