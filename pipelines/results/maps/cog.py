"""Write a raster of probabilities as a cloud-optimized GeoTIFF.

First in the file are the directories of the raster and of its overviews, then the overviews, smallest first, and the
raster itself, so that a program that reads over a network gets what it shows with few requests. GDAL would be 25 MB to
install for these few bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import numpy as np

from pipelines.errors import printable
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    COMPRESSION,
    DEFLATE,
    EXTRA,
    FLOAT,
    GEO_ASCII,
    GEO_DOUBLES,
    GEO_KEY_DIRECTORY,
    HEIGHT,
    KIND,
    METADATA,
    MODEL_PIXEL_SCALE,
    MODEL_TIEPOINT,
    MODEL_TRANSFORMATION,
    NO_DATA,
    PHOTOMETRIC,
    PLANES,
    SAMPLE_FORMAT,
    SAMPLES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    TILE_WIDTH,
    WIDTH,
)
from pipelines.results.maps import MAX
from pipelines.results.maps.rasters import Cells, Raster
from pipelines.scenes.georeference import GeoTags

SOFTWARE = b"scenetags\0"
"""In each file, near its beginning."""

_TILE, _TILE_STEP = 512, 16
"""Columns and rows of a tile, as GDAL writes them, and what they are multiples of: a small raster has a smaller one."""

_SHORT, _LONG, _ASCII, _DOUBLE = "H", "I", "s", "d"
_TYPES = {_ASCII: 2, _SHORT: 3, _LONG: 4, _DOUBLE: 12}
_INLINE = 4
_SOFTWARE = 305
_REDUCED, _CHUNKY, _UNSPECIFIED = 1, 1, 0
_KEYS = {GEO_KEY_DIRECTORY: _SHORT, GEO_DOUBLES: _DOUBLE, GEO_ASCII: _ASCII}

_LAYOUT = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
# What GDAL looks for behind the header, to tell such a file from others.
_GHOST = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n%b" % (len(_LAYOUT), _LAYOUT)
_LEADER = struct.Struct("<I")
_TRAILER = 4

Entries = Mapping[int, tuple[str, bytes]]
"""Of a directory: number of a tag to the kind of its values, and their bytes."""


def write_cog(raster: Raster, tags: Sequence[str], model: str, merge: str) -> bytes:
    """Return the file of a raster, a band per tag.

    Args:
      raster: the raster.
      tags: names of its bands.
      model: digest of the bundle that its probabilities are of.
      merge: how overviews are made of it, as it was of windows.
    """
    levels = [raster.cells]
    while max(levels[-1].shape[:2]) > _TILE:
        levels.append(_halved(levels[-1], merge))
    side = min(_TILE, -(-max(raster.cells.shape[:2]) // _TILE_STEP) * _TILE_STEP)
    tiles = [_tiles(level, side) for level in levels]
    about = _place(raster.place) | _about(raster.scene, tags, model, merge)

    def head(ends: Sequence[Sequence[int]]) -> bytes:
        data = struct.pack("<2sHI", b"II", 42, 8 + len(_GHOST)) + _GHOST
        for number, (level, stored, after) in enumerate(zip(levels, tiles, ends, strict=True)):
            sizes = [len(tile) - _LEADER.size - _TRAILER for tile in stored]
            starts = [end - _TRAILER - size for end, size in zip(after, sizes, strict=True)]
            entries = {
                **_layout(level, side, reduced=number > 0),
                **(about if number == 0 else {}),
                NO_DATA: (_ASCII, b"nan\0"),
                TILE_OFFSETS: _numbers(_LONG, *starts),
                TILE_SIZES: _numbers(_LONG, *sizes),
            }
            data += _directory(entries, len(data), is_last=number == len(levels) - 1)
        return data

    # Where tiles are depends on how long what precedes them is, and only on that.
    stored = [tile for level in reversed(tiles) for tile in level]
    beginning = len(head([[len(tile) for tile in level] for level in tiles]))
    ends = iter((beginning + np.cumsum([len(tile) for tile in stored])).tolist())
    by_level = [[next(ends) for _ in level] for level in reversed(tiles)]
    return head(by_level[::-1]) + b"".join(stored)


def _halved(cells: Cells, merge: str) -> Cells:
    """Return an overview, of which each cell stands for four; those without a value do not count."""
    rows, columns, tags = cells.shape
    even = np.pad(cells, ((0, rows % 2), (0, columns % 2), (0, 0)), constant_values=np.nan)
    fours = even.reshape(-(-rows // 2), 2, -(-columns // 2), 2, tags)
    if merge == MAX:
        return np.asarray(np.fmax.reduce(np.fmax.reduce(fours, axis=3), axis=1))
    with np.errstate(invalid="ignore"):
        means = np.nansum(fours, axis=(1, 3), dtype=np.float64) / np.count_nonzero(~np.isnan(fours), axis=(1, 3))
    halved: Cells = means.astype(np.float32)
    return halved


def _tiles(cells: Cells, side: int) -> list[bytes]:
    """Return tiles as they are in the file: in between their size and their last bytes once more."""
    rows, columns, tags = cells.shape
    tiles = []
    for row in range(0, rows, side):
        for column in range(0, columns, side):
            tile = np.full((side, side, tags), np.nan, "<f4")
            part = cells[row : row + side, column : column + side]
            tile[: part.shape[0], : part.shape[1]] = part
            data = zlib.compress(tile.tobytes())
            tiles.append(_LEADER.pack(len(data)) + data + data[-_TRAILER:])
    return tiles


def _layout(cells: Cells, side: int, *, reduced: bool) -> dict[int, tuple[str, bytes]]:
    rows, columns, tags = cells.shape
    return {
        KIND: _numbers(_LONG, _REDUCED if reduced else 0),
        WIDTH: _numbers(_LONG, columns),
        HEIGHT: _numbers(_LONG, rows),
        BITS: _numbers(_SHORT, *[32] * tags),
        COMPRESSION: _numbers(_SHORT, DEFLATE),
        PHOTOMETRIC: _numbers(_SHORT, BLACK_IS_ZERO),
        SAMPLES: _numbers(_SHORT, tags),
        PLANES: _numbers(_SHORT, _CHUNKY),
        TILE_WIDTH: _numbers(_SHORT, side),
        TILE_HEIGHT: _numbers(_SHORT, side),
        **({EXTRA: _numbers(_SHORT, *[_UNSPECIFIED] * (tags - 1))} if tags > 1 else {}),
        SAMPLE_FORMAT: _numbers(_SHORT, *[FLOAT] * tags),
    }


def _place(place: GeoTags) -> dict[int, tuple[str, bytes]]:
    a, b, c, d, e, f = place.transform
    keys = {tag: (_KEYS[tag], data) for tag, data in place.keys.items()}
    if b == d == 0 and a > 0 > e:
        scale, tie = _numbers(_DOUBLE, a, -e, 0.0), _numbers(_DOUBLE, 0.0, 0.0, 0.0, c, f, 0.0)
        return {MODEL_PIXEL_SCALE: scale, MODEL_TIEPOINT: tie, **keys}
    matrix = (a, b, 0.0, c, d, e, 0.0, f, *[0.0] * 7, 1.0)
    return {MODEL_TRANSFORMATION: _numbers(_DOUBLE, *matrix), **keys}


def _about(scene: str, tags: Sequence[str], model: str, merge: str) -> dict[int, tuple[str, bytes]]:
    """Say what the raster is, as GDAL writes it."""
    items = [
        f'<Item name="DESCRIPTION" sample="{number}" role="description">{_written(tag)}</Item>'
        for number, tag in enumerate(tags)
    ]
    said = {"scene": scene, "model": model, "merge": merge}
    items += [f'<Item name="{name}">{_written(text)}</Item>' for name, text in said.items()]
    metadata = f"<GDALMetadata>{''.join(items)}</GDALMetadata>\0".encode()
    return {_SOFTWARE: (_ASCII, SOFTWARE), METADATA: (_ASCII, metadata)}


def _written(text: str) -> str:
    # GDAL resolves entities once more than XML does.
    return escape(escape(printable(text)))


def _numbers(kind: str, *values: float) -> tuple[str, bytes]:
    return kind, struct.pack(f"<{len(values)}{kind}", *values)


def _directory(entries: Entries, at: int, *, is_last: bool) -> bytes:
    """Return a directory that begins at a byte of the file, the values that it points to, and where the next begins."""
    end = at + 2 + 12 * len(entries) + 4
    table, outside = struct.pack("<H", len(entries)), b""
    for tag, (kind, data) in sorted(entries.items()):
        count = len(data) // struct.calcsize(f"<{kind}")
        table += struct.pack("<HHI", tag, _TYPES[kind], count)
        if len(data) <= _INLINE:
            table += data.ljust(_INLINE, b"\0")
            continue
        table += struct.pack("<I", end + len(outside))
        outside += data + b"\0" * (len(data) % 2)
    # A directory begins at an even byte, as its values do.
    return table + struct.pack("<I", 0 if is_last else end + len(outside)) + outside
