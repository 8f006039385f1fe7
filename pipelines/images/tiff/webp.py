"""Unpack the strips or tiles of a TIFF that are WebP files, which Pillow reads only outside of a TIFF."""

from __future__ import annotations

import io

from PIL import Image

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UnsupportedImageError
from pipelines.images.tiff.strips import place_pieces, read_grid, samples_per_piece
from pipelines.images.tiff.tags import COMPRESSION, FILL_ORDER, HEIGHT, PREDICTOR, UNCOMPRESSED, WEBP, Tags
from pipelines.images.webp import read_canvas

_MODES = {3: "RGB", 4: "RGBA"}
# To open one takes longer than to decode a small one. The largest image that is decoded has 3,900 of the usual size.
_MOST_WEBPS = 4_000


def unpack_webps(data: bytes, tags: Tags) -> tuple[bytes, Tags]:
    """Append the samples of the strips or tiles of a TIFF, if these are WebP files.

    Args:
      data: the file.
      tags: of the file; offsets and sizes of 0 stand for strips or tiles that are left out.

    Returns:
      File and tags, of a TIFF without compression; unchanged if it has another one.

    Raises:
      ImageError: one of the WebP files is damaged, or not of the size of its strip or tile.
    """
    if tags.get(COMPRESSION, (1,))[0] != WEBP:
        return data, tags
    samples, grid = samples_per_piece(tags), read_grid(tags)
    if grid.number > _MOST_WEBPS:
        raise ImageTooLargeError(f"TIFF of {quantity(grid.number, 'WebP file')}: the limit is {_MOST_WEBPS:,}")
    mode = _MODES.get(samples)
    if mode is None:
        raise UnsupportedImageError(
            f"TIFF compressed with WebP is supported with strips or tiles of 3 or 4 bands, not of "
            f"{quantity(samples, 'band')}"
        )
    if len(grid.sizes) != len(grid.offsets):
        raise DamagedImageError(f"damaged TIFF: it does not say how large its {grid.what}s are")
    pieces = [b""] * grid.number
    for number, (start, size) in enumerate(zip(grid.offsets, grid.sizes, strict=True)):
        if start and size:
            rows = grid.rows_of(number, tags[HEIGHT][0])
            pieces[number] = _unpack(data[start : start + size], mode, (grid.columns, rows), grid.rows)
    unpacked = {tag: values for tag, values in tags.items() if tag not in (PREDICTOR, FILL_ORDER)}
    return place_pieces(data, {**unpacked, COMPRESSION: (UNCOMPRESSED,)}, pieces)


def _unpack(piece: bytes, mode: str, size: tuple[int, int], most_rows: int) -> bytes:
    """Decode a WebP file to samples; of the last strip, it may have as many rows as the others."""
    columns, rows = size
    # Its decoder takes memory for a canvas of any size before it looks for pixels.
    canvas = read_canvas(piece)
    if canvas.width != columns or canvas.height not in (rows, most_rows):
        raise DamagedImageError(
            f"damaged TIFF: a WebP file in it has {canvas.width} x {canvas.height} pixels instead of {columns} x {rows}"
        )
    with Image.open(io.BytesIO(piece), formats=("webp",)) as image:
        return image.convert(mode).crop((0, 0, columns, rows)).tobytes()
