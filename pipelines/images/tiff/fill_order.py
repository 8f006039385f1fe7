"""Turn the bits of bytes that are stored with the lowest first."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.images.layout import DamagedImageError
from pipelines.images.tiff.strips import place_pieces, read_grid, unpacked_sizes
from pipelines.images.tiff.tags import COMPRESSION, FILL_ORDER, JPEG, UNCOMPRESSED, Tags

_LOWEST_FIRST = 2
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def put_highest_first(data: bytes, tags: Tags) -> tuple[bytes, Tags]:
    """Append the strips or tiles of a TIFF with the highest bit first, if they have the lowest first.

    Pillow and libtiff do so for some layouts only. JPEGs are never turned.

    Args:
      data: the file.
      tags: of the file, with as many strips or tiles as it must have.

    Returns:
      File and tags; unchanged if there is nothing to turn.

    Raises:
      DamagedImageError: the sizes of compressed ones are missing.
    """
    if tags.get(FILL_ORDER, (1,))[0] != _LOWEST_FIRST:
        return data, tags
    tags = {**tags, FILL_ORDER: (1,)}
    compression, grid = tags.get(COMPRESSION, (1,))[0], read_grid(tags)
    if compression == JPEG:
        return data, tags
    sizes: Sequence[int] = grid.sizes
    if compression == UNCOMPRESSED:
        # Some programs write none, or too large ones.
        needed = unpacked_sizes(tags, grid)
        sizes = [min(size or most, most) for size, most in zip(sizes or needed, needed, strict=True)]
    if len(sizes) != grid.number:
        raise DamagedImageError(f"damaged TIFF: it does not say how large its {grid.what}s are")
    pieces = [
        data[start : start + size].translate(_REVERSED) if start else b""
        for start, size in zip(grid.offsets, sizes, strict=True)
    ]
    return place_pieces(data, tags, pieces)
