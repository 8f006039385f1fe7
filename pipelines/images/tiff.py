"""Read the layout of a TIFF or BigTIFF from its first directory."""

from __future__ import annotations

import struct

import numpy as np

from pipelines.images.jpeg import check_scans, frame_size
from pipelines.images.layout import (
    DamagedImageError,
    ImageTooLargeError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)

# TIFF 6.0 tags and the NumPy types of the field types that these tags may have.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT = 277, 332, 338, 339
_STRIP_OFFSETS, _STRIP_ROWS, _STRIP_SIZES, _PLANES = 273, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_TIFF_TAGS = (
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT),
    *(_STRIP_OFFSETS, _STRIP_ROWS, _STRIP_SIZES, _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES),
)
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
# Bytes a value of each field type; of those of one byte, Pillow makes no number each.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
# Those of libtiff, which refuses a directory of more.
_MOST_ENTRIES = 4096
# The tiles of 16 x 16 pixels that 64 million pixels have. Pillow makes an object of each value.
_MOST_VALUES = 250_000
# A tile is unpacked whole, however small the image; 16 million pixels take 64 MB.
_MOST_TILE_PIXELS = 4096 * 4096
# Uncompressed, LZW, JPEG, deflate (two codes), PackBits, LZMA, Zstandard. Others, the fax codes above all, leave what
# they cannot read as it lies in memory, without an error: the pixels of another image, perhaps.
_COMPRESSIONS = (1, 5, 7, 8, 32773, 32946, 34925, 50000)
_JPEG = 7
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_ALPHA = (1, 2)
_CMYK_INKS = 1


def read_tiff(data: bytes) -> Layout:
    """Read the first directory of a TIFF or BigTIFF and refuse what has no certain colours."""
    tags, next_directory = _tiff_directory(data)
    bits = tags.get(_BITS, (1,))
    samples = tags.get(_SAMPLES, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC, (-1,))[0]
    if max(bits) > 8 and samples > 1:
        raise UntrustedColoursError(
            f"{max(bits)}-bit multi-band TIFF ({samples} bands): which bands are red, green and blue, and how "
            "bright white is, cannot be told from the file"
        )
    colours = _COLOURS.get(photometric)
    if colours is None or not (samples == colours or (samples == colours + 1 and tags.get(_EXTRA, (0,))[0] in _ALPHA)):
        raise UntrustedColoursError(
            f"TIFF of {samples} bands with photometric interpretation {photometric}: the bands have no certain colours"
        )
    if set(tags.get(_SAMPLE_FORMAT, (1,))) != {1} or len(set(bits)) != 1 or bits[0] not in (1, 2, 4, 8, 16):
        raise UnsupportedImageError(
            f"TIFF samples of {bits[0]} bits: only unsigned integers of 1, 2, 4, 8 or 16 bits are read"
        )
    if photometric == _WHITE_IS_ZERO and bits[0] == 16:
        raise UntrustedColoursError("16-bit TIFF in which white is zero: decoders disagree on its polarity")
    if photometric == _YCBCR and tags.get(_COMPRESSION, (1,))[0] == 1:
        # Pillow takes its samples for RGB with a fourth one between the pixels, and reads on beyond them.
        raise UnsupportedImageError("uncompressed YCbCr TIFF")
    if photometric == _CMYK and tags.get(_INKS, (_CMYK_INKS,))[0] != _CMYK_INKS:
        raise UntrustedColoursError("TIFF of inks other than cyan, magenta, yellow and black")
    compression = tags.get(_COMPRESSION, (1,))[0]
    if compression not in _COMPRESSIONS:
        raise UnsupportedImageError(f"TIFF of compression {compression}, whose decoder hides damage")
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: no width or no height")
    _check_pieces(data, tags)
    return Layout(
        "tiff",
        tags[_WIDTH][0],
        tags[_HEIGHT][0],
        samples,
        bits[0],
        frames=2 if next_directory else 1,
        gray=photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO),
    )


def _check_pieces(data: bytes, tags: dict[int, tuple[int, ...]]) -> None:
    """Refuse tiles too large to unpack, and strips or tiles of JPEG that are no JPEG of their size.

    libtiff leaves the pixels that a smaller JPEG does not fill as they lie in memory, and says nothing.
    """
    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    tiled = _TILE_WIDTH in tags and _TILE_HEIGHT in tags
    columns, rows = width, min(height, tags.get(_STRIP_ROWS, (height,))[0])
    if tiled:
        columns, rows = tags[_TILE_WIDTH][0], tags[_TILE_HEIGHT][0]
    if tiled and columns * rows > max(_MOST_TILE_PIXELS, 4 * width * height):
        raise ImageTooLargeError(f"TIFF of {width} x {height} pixels in tiles of {columns} x {rows}")
    if tags.get(_COMPRESSION, (1,))[0] != _JPEG:
        return
    if tags.get(_PLANES, (1,))[0] != 1:
        raise UnsupportedImageError("TIFF of JPEGs with one plane a band")
    offsets = tags.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, ())
    sizes = tags.get(_TILE_SIZES if tiled else _STRIP_SIZES, ())
    if not rows or len(offsets) != len(sizes) or sum(sizes) > 2 * len(data):
        raise DamagedImageError("damaged TIFF: where its JPEGs lie contradicts itself")
    for number, (start, size) in enumerate(zip(offsets, sizes, strict=True)):
        expected = (columns, rows if tiled else min(rows, height - number * rows))
        found = frame_size(data, start, start + size)
        if found != expected:
            raise DamagedImageError(f"damaged TIFF: the JPEG at byte {start} is not of {expected[0]} x {expected[1]}")
        check_scans(data, columns * rows, start, start + size)


def _tiff_directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Read the integer tags of the first directory, and the offset of the next one (0 at the last)."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    # BigTIFF widens offsets and counts to 8 bytes; otherwise the directories are alike.
    offset_type, count_type, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    (at,) = struct.unpack_from(order + offset_type, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count_type, data, at)
    at += struct.calcsize(order + count_type)
    entry_format = f"{order}HH{offset_type}"
    entry_size = struct.calcsize(entry_format) + inline
    if entries > _MOST_ENTRIES:
        raise DamagedImageError(f"damaged TIFF: a directory of {entries} entries")
    tags, stored = {}, 0
    for entry in range(entries):
        tag, field_type, count = struct.unpack_from(entry_format, data, at + entry * entry_size)
        size = count * _TYPE_SIZES.get(field_type, 0)
        where = at + (entry + 1) * entry_size - inline
        if size > inline:
            (where,) = struct.unpack_from(order + offset_type, data, where)
            stored += max(0, min(size, len(data) - where))
        if count > _MOST_VALUES and (_TYPE_SIZES.get(field_type, 1) > 1 or tag in _TIFF_TAGS):
            raise ImageTooLargeError(f"TIFF whose tag {tag} has {count} values: more than the {_MOST_VALUES:,} read")
        if field_type not in _TIFF_TYPES or tag not in _TIFF_TAGS:
            continue
        dtype = np.dtype(order + _TIFF_TYPES[field_type])
        if not count or where + count * dtype.itemsize > len(data):
            raise DamagedImageError(f"damaged TIFF: tag {tag} has {count} values at byte {where}")
        tags[tag] = tuple(np.frombuffer(data, dtype, count, where).tolist())
    if stored > 2 * len(data):
        # Pillow copies the values of every tag, and thousands of tags can share the same megabytes.
        raise DamagedImageError(f"damaged TIFF: its tags have {stored:,} bytes of values, more than the file")
    (next_directory,) = struct.unpack_from(order + offset_type, data, at + entries * entry_size)
    return tags, next_directory
