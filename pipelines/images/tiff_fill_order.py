"""Turn the bits of bytes that are stored with the lowest first."""

from __future__ import annotations

from pipelines.images.layout import DamagedImageError
from pipelines.images.tiff_directories import FILL_ORDER
from pipelines.images.tiff_strips import (
    COMPRESSION,
    JPEG,
    STRIP_OFFSETS,
    STRIP_SIZES,
    TILE_OFFSETS,
    TILE_SIZES,
    UNCOMPRESSED,
    Tags,
    read_grid,
    unpacked_sizes,
)

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
    # Only of uncompressed ones, sizes may be missing or too large.
    sizes = unpacked_sizes(tags, grid) if compression == UNCOMPRESSED and 0 not in grid.sizes else grid.sizes
    if len(sizes) != grid.number:
        raise DamagedImageError(f"damaged TIFF: it does not say how large its {grid.what}s are")
    parts, offsets, end = [data], [], len(data)
    for start, size in zip(grid.offsets, sizes, strict=True):
        parts.append(data[start : start + size].translate(_REVERSED) if start else b"")
        offsets.append(end if start and size else 0)
        end += len(parts[-1])
    offsets_tag, sizes_tag = (TILE_OFFSETS, TILE_SIZES) if grid.what == "tile" else (STRIP_OFFSETS, STRIP_SIZES)
    turned = {offsets_tag: tuple(offsets), sizes_tag: tuple(len(part) for part in parts[1:])}
    return b"".join(parts), {**tags, **turned}
