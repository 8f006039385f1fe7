"""Check YCbCr that is not in JPEGs: libtiff turns it into RGB, and does not say if a part of it is missing."""

from __future__ import annotations

import io

from PIL import Image

from pipelines.images.layout import UnsupportedImageError
from pipelines.images.tiff.directories import Directory
from pipelines.images.tiff.fill_order import put_highest_first
from pipelines.images.tiff.places import check_places
from pipelines.images.tiff.rewriting import leave_pixels
from pipelines.images.tiff.sparse import pack_bits
from pipelines.images.tiff.strips import check_pieces, place_pieces, read_grid
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    COMPRESSION,
    HEIGHT,
    PACK_BITS,
    PHOTOMETRIC,
    PLANES,
    PREDICTOR,
    RGB,
    SAMPLES,
    SEPARATE_PLANES,
    STRIP_ROWS,
    SUBSAMPLING,
    TILE_HEIGHT,
    TILE_WIDTH,
    UNCOMPRESSED,
    WIDTH,
    Tags,
)

# Of others, libtiff misreads the last pixels.
_SUBSAMPLINGS = ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2))


def make_ycbcr_whole(directory: Directory, data: bytes, tags: Tags) -> bytes:
    """Return a file that holds an image in YCbCr and nothing else, as `leave_pixels` does.

    Pillow reads what is not compressed as if it were RGB, but leaves what is compressed to libtiff.

    Raises:
      ImageError: a part of it is missing, or its layout is not supported.
      OSError: it cannot be decoded.
    """
    stored = _as_stored(tags)
    check_places(data, directory, stored)
    data, stored = put_highest_first(data, stored)
    check_pieces(data, stored, b"")
    if stored.get(COMPRESSION, (1,))[0] == UNCOMPRESSED:
        grid = read_grid(stored)
        pieces = [data[start : start + size] for start, size in zip(grid.offsets, grid.sizes, strict=True)]
        data, stored = place_pieces(data, stored, [pack_bits(piece) for piece in pieces])
        stored = {**stored, COMPRESSION: (PACK_BITS,)}
    with Image.open(io.BytesIO(leave_pixels(directory, data, stored)), formats=("tiff",)) as image:
        image.load()
    described = (WIDTH, HEIGHT, STRIP_ROWS, TILE_WIDTH, TILE_HEIGHT, BITS, SAMPLES, PHOTOMETRIC, SUBSAMPLING, PREDICTOR)
    kept = {tag: values for tag, values in stored.items() if tag not in described}
    return leave_pixels(directory, data, {**kept, **{tag: tags[tag] for tag in described if tag in tags}})


def _as_stored(tags: Tags) -> Tags:
    """Describe samples as RGB or, if they are subsampled, as gray of 16 bits: two of them a pixel.

    Gray of 8 bits would have more pixels than Pillow decodes.
    """
    across, down = (*tags[SUBSAMPLING], 1)[:2]
    others = {tag: values for tag, values in tags.items() if tag not in (SUBSAMPLING, PREDICTOR)}
    if (across, down) == (1, 1):
        return {**others, PHOTOMETRIC: (RGB,)}
    if tags.get(PLANES, (1,))[0] == SEPARATE_PLANES:
        raise UnsupportedImageError("TIFF in subsampled YCbCr whose bands follow one another is not supported")
    if (across, down) not in _SUBSAMPLINGS:
        raise UnsupportedImageError(f"TIFF in YCbCr with subsampling {across} x {down} is not supported")
    grid = read_grid(tags)
    # A unit has the brightness of each of its pixels and two samples of colour for all of them.
    columns, rows = -(-grid.columns // across) * (across * down + 2) // 2, -(-grid.rows // down)
    shape = {SAMPLES: (1,), BITS: (16,), PHOTOMETRIC: (BLACK_IS_ZERO,)}
    if grid.what == "tile":
        width, height = grid.number // grid.down * columns, grid.down * rows
        return {**others, **shape, WIDTH: (width,), HEIGHT: (height,), TILE_WIDTH: (columns,), TILE_HEIGHT: (rows,)}
    height = (grid.down - 1) * rows + -(-grid.rows_of(grid.down - 1, tags[HEIGHT][0]) // down)
    return {**others, **shape, WIDTH: (columns,), HEIGHT: (height,), STRIP_ROWS: (rows,)}
