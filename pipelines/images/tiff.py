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

# TIFF 6.0 tags, and NumPy types for the field types that these tags may have.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT = 277, 332, 338, 339
_STRIP_OFFSETS, _STRIP_ROWS, _STRIP_SIZES, _PLANES = 273, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_TIFF_TAGS = (
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT),
    *(_STRIP_OFFSETS, _STRIP_ROWS, _STRIP_SIZES, _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES),
)
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
# Bytes per value of each field type; Pillow does not turn values of one byte into numbers.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
# libtiff's limit for a directory.
_MOST_ENTRIES = 4096
# The number of tiles of 16 x 16 pixels in 64 million pixels. Pillow creates an object per value.
_MOST_VALUES = 250_000
# A tile is unpacked whole, however small the image is; 16 million pixels take 64 MB.
_MOST_TILE_PIXELS = 4096 * 4096
# Uncompressed, LZW, JPEG, deflate (two codes), PackBits, LZMA, Zstandard. Other decoders, above all those of fax codes,
# silently leave uninitialized memory where they cannot read: perhaps the pixels of another image.
_COMPRESSIONS = (1, 5, 7, 8, 32773, 32946, 34925, 50000)
_JPEG = 7
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_ALPHA = (1, 2)
_CMYK_INKS = 1


def read_tiff(data: bytes) -> Layout:
    """Read the first directory of a TIFF or BigTIFF, and refuse it if its colours are ambiguous."""
    tags, next_directory = _tiff_directory(data)
    bits = tags.get(_BITS, (1,))
    samples = tags.get(_SAMPLES, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC, (-1,))[0]
    if max(bits) > 8 and samples > 1:
        raise UntrustedColoursError(
            f"{max(bits)}-bit multi-band TIFF ({samples} bands): the file does not say which bands are red, green and "
            "blue, or how bright white is"
        )
    colours = _COLOURS.get(photometric)
    if colours is None or not (samples == colours or (samples == colours + 1 and tags.get(_EXTRA, (0,))[0] in _ALPHA)):
        raise UntrustedColoursError(
            f"{samples}-band TIFF with photometric interpretation {photometric}: its colours are ambiguous"
        )
    if set(tags.get(_SAMPLE_FORMAT, (1,))) != {1} or len(set(bits)) != 1 or bits[0] not in (1, 2, 4, 8, 16):
        raise UnsupportedImageError(
            f"TIFF with {bits[0]}-bit samples: only unsigned integers of 1, 2, 4, 8 or 16 bits, the same in all bands, "
            "are supported"
        )
    if photometric == _WHITE_IS_ZERO and bits[0] == 16:
        raise UntrustedColoursError("16-bit TIFF in which zero is white: decoders disagree about its polarity")
    if photometric == _YCBCR and tags.get(_COMPRESSION, (1,))[0] == 1:
        # Pillow reads its samples as RGB with a fourth one between the pixels, and reads beyond their end.
        raise UnsupportedImageError("uncompressed YCbCr TIFF is not supported")
    if photometric == _CMYK and tags.get(_INKS, (_CMYK_INKS,))[0] != _CMYK_INKS:
        raise UntrustedColoursError("TIFF with inks other than cyan, magenta, yellow and black")
    compression = tags.get(_COMPRESSION, (1,))[0]
    if compression not in _COMPRESSIONS:
        raise UnsupportedImageError(f"TIFF compression {compression} is not supported: its decoder hides damage")
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: its width or height is missing")
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
    """Refuse tiles that are too large to unpack, and JPEG strips or tiles whose JPEG is not of their size.

    libtiff silently leaves uninitialized memory where a smaller JPEG does not fill its strip or tile.
    """
    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    tiled = _TILE_WIDTH in tags and _TILE_HEIGHT in tags
    columns, rows = width, min(height, tags.get(_STRIP_ROWS, (height,))[0])
    if tiled:
        columns, rows = tags[_TILE_WIDTH][0], tags[_TILE_HEIGHT][0]
    if tiled and columns * rows > max(_MOST_TILE_PIXELS, 4 * width * height):
        raise ImageTooLargeError(f"TIFF of {width} x {height} pixels: its tiles of {columns} x {rows} are too large")
    if tags.get(_COMPRESSION, (1,))[0] != _JPEG:
        return
    if tags.get(_PLANES, (1,))[0] != 1:
        raise UnsupportedImageError("JPEG-compressed TIFF with one plane per band is not supported")
    offsets = tags.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, ())
    sizes = tags.get(_TILE_SIZES if tiled else _STRIP_SIZES, ())
    if not rows or len(offsets) != len(sizes) or sum(sizes) > 2 * len(data):
        raise DamagedImageError("damaged TIFF: offsets and sizes of its JPEGs contradict each other")
    for number, (start, size) in enumerate(zip(offsets, sizes, strict=True)):
        expected = (columns, rows if tiled else min(rows, height - number * rows))
        found = frame_size(data, start, start + size)
        if found != expected:
            raise DamagedImageError(f"damaged TIFF: the JPEG at byte {start} is not {expected[0]} x {expected[1]}")
        check_scans(data, columns * rows, start, start + size)


def _tiff_directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Read the integer tags of the first directory, and the offset of the next one (0 if there is none)."""
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
        raise DamagedImageError(f"damaged TIFF: a directory with {entries} entries")
    tags, stored = {}, 0
    for entry in range(entries):
        tag, field_type, count = struct.unpack_from(entry_format, data, at + entry * entry_size)
        size = count * _TYPE_SIZES.get(field_type, 0)
        where = at + (entry + 1) * entry_size - inline
        if size > inline:
            (where,) = struct.unpack_from(order + offset_type, data, where)
            stored += max(0, min(size, len(data) - where))
        if count > _MOST_VALUES and (_TYPE_SIZES.get(field_type, 1) > 1 or tag in _TIFF_TAGS):
            raise ImageTooLargeError(f"TIFF whose tag {tag} has {count:,} values: the limit is {_MOST_VALUES:,}")
        if field_type not in _TIFF_TYPES or tag not in _TIFF_TAGS:
            continue
        dtype = np.dtype(order + _TIFF_TYPES[field_type])
        if not count or where + count * dtype.itemsize > len(data):
            raise DamagedImageError(f"damaged TIFF: the file does not hold the {count:,} values of tag {tag}")
        tags[tag] = tuple(np.frombuffer(data, dtype, count, where).tolist())
    if stored > 2 * len(data):
        # Pillow copies the values of every tag, and thousands of tags can share the same megabytes.
        raise DamagedImageError(f"damaged TIFF: its tags claim {stored:,} bytes of values, more than the file holds")
    (next_directory,) = struct.unpack_from(order + offset_type, data, at + entries * entry_size)
    return tags, next_directory
