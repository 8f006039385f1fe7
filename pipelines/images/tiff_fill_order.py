"""Turn the bits of bytes that are stored with the lowest first."""

from __future__ import annotations

import numpy as np

from pipelines.images.tiff_directories import FILL_ORDER
from pipelines.images.tiff_strips import (
    COMPRESSION,
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
    """Append the strips or tiles of an uncompressed TIFF with the highest bit first, if they have the lowest first.

    Pillow turns neither bytes of palettes nor of bands that follow one another; libtiff turns all that are compressed.

    Args:
      data: the file.
      tags: of the file, of which every strip or tile is whole.

    Returns:
      File and tags; unchanged if there is nothing to turn.
    """
    if tags.get(COMPRESSION, (1,))[0] != UNCOMPRESSED or tags.get(FILL_ORDER, (1,))[0] != _LOWEST_FIRST:
        return data, tags
    grid = read_grid(tags)
    sizes = unpacked_sizes(tags, grid)
    turned = [data[start : start + size].translate(_REVERSED) for start, size in zip(grid.offsets, sizes, strict=True)]
    offsets = (len(data) + np.cumsum([0, *sizes[:-1]])).tolist()
    offsets_tag, sizes_tag = (TILE_OFFSETS, TILE_SIZES) if grid.what == "tile" else (STRIP_OFFSETS, STRIP_SIZES)
    changed = {offsets_tag: tuple(offsets), sizes_tag: tuple(sizes), FILL_ORDER: (1,)}
    return b"".join((data, *turned)), {**tags, **changed}
