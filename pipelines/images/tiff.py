"""Read the layout of a TIFF or BigTIFF from its first directory."""

from __future__ import annotations

import struct
from functools import partial
from typing import NamedTuple

import numpy as np

from pipelines.images.layout import (
    DamagedImageError,
    ImageTooLargeError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)
from pipelines.images.metadata import read_orientation
from pipelines.images.strips import (
    BITS,
    COMPRESSION,
    HEIGHT,
    JPEG,
    PLANES,
    SAMPLES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    TILE_WIDTH,
    WIDTH,
    check_pieces,
    read_jpegs,
)

# TIFF 6.0 tags, and NumPy types for the field types that these tags may have.
_PHOTOMETRIC, _ORIENTATION, _INKS, _EXTRA, _SAMPLE_FORMAT = 262, 274, 332, 338, 339
_TABLES, _XMP, _PROFILE = 347, 700, 34675
_INTEGER_TAGS = (
    *(WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANES, STRIP_OFFSETS, STRIP_ROWS, STRIP_SIZES),
    *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES),
    *(_PHOTOMETRIC, _ORIENTATION, _INKS, _EXTRA, _SAMPLE_FORMAT),
)
# Further tags on which pixels depend: the order of bits, prediction, the palette, the tables of JPEGs, and YCbCr.
_FURTHER_TAGS = (266, 317, 320, _TABLES, 529, 530, 531, 532)
# Pillow and libtiff read every entry they see, and thousands of them can share the same megabytes.
_PIXEL_TAGS = frozenset((*_INTEGER_TAGS, *_FURTHER_TAGS)) - {_ORIENTATION}
# Further directories, and what makes Pillow turn the image.
_FOLLOWED = frozenset((330, 34665, 34853, 40965, _XMP))
# To leave out less than this is not worth a copy of the file.
_MOST_LEFT_IN = 1_000_000
_READ_TAGS = _PIXEL_TAGS | {_ORIENTATION, _XMP, _PROFILE}
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
# Bytes per value of each field type.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
# libtiff's limit for a directory.
_MOST_ENTRIES = 4096
# The number of tiles of 16 x 16 pixels in 64 million pixels. Pillow creates an object per value.
_MOST_VALUES = 250_000
# Uncompressed, LZW, JPEG, deflate (two codes), PackBits, LZMA, Zstandard. Other decoders, above all those of fax codes,
# silently leave uninitialized memory where they cannot read: perhaps the pixels of another image.
_COMPRESSIONS = (1, 5, 7, 8, 32773, 32946, 34925, 50000)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_ALPHA = (1, 2)
_CMYK_INKS = 1


def read_tiff(data: bytes) -> Layout:
    """Read the first directory of a TIFF or BigTIFF, and refuse it if its colours are ambiguous."""
    directory = _read_directory(data)
    tags = directory.tags
    bits = tags.get(BITS, (1,))
    samples = tags.get(SAMPLES, (1,))[0]
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
    if photometric == _YCBCR and tags.get(COMPRESSION, (1,))[0] == 1:
        # Pillow reads its samples as RGB with a fourth one between the pixels, and reads beyond their end.
        raise UnsupportedImageError("uncompressed YCbCr TIFF is not supported")
    if photometric == _CMYK and tags.get(_INKS, (_CMYK_INKS,))[0] != _CMYK_INKS:
        raise UntrustedColoursError("TIFF with inks other than cyan, magenta, yellow and black")
    compression = tags.get(COMPRESSION, (1,))[0]
    if compression not in _COMPRESSIONS:
        raise UnsupportedImageError(f"TIFF compression {compression} is not supported: its decoder hides damage")
    if WIDTH not in tags or HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: its width or height is missing")
    layout = Layout(
        "tiff",
        tags[WIDTH][0],
        tags[HEIGHT][0],
        samples,
        bits[0],
        frames=2 if directory.following else 1,
        gray=photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO),
        orientation=_read_orientation(directory),
        profile=bytes(directory.texts[_PROFILE]) if _PROFILE in directory.texts else None,
        to_pixels=partial(_to_pixels, directory),
    )
    return layout._replace(read_jpegs=partial(read_jpegs, tags, directory.tables)) if compression == JPEG else layout


class _Directory(NamedTuple):
    """The first directory of a file.

    Attributes:
      tags: its integers.
      texts: XMP and the ICC profile.
      tables: those that JPEGs in it share.
      start: byte at which it begins.
      bare: the directory without entries on which no pixel depends; None if it may stay as it is.
      following: where the next one begins; 0 if there is none.
    """

    tags: dict[int, tuple[int, ...]]
    texts: dict[int, memoryview]
    tables: bytes
    start: int
    bare: bytes | None
    following: int


def _read_orientation(directory: _Directory) -> int:
    [orientation, *_] = directory.tags.get(_ORIENTATION, (0,))
    if _ORIENTATION not in directory.tags and _XMP in directory.texts:
        return read_orientation(b"", directory.texts[_XMP])
    return orientation if orientation in range(1, 9) else 1


def _to_pixels(directory: _Directory, data: bytes) -> bytes:
    """Check the strips or tiles, and leave out the other entries of the directory."""
    check_pieces(data, directory.tags, directory.tables)
    if directory.bare is None:
        return data
    view, start, bare = memoryview(data), directory.start, directory.bare
    return b"".join((view[:start], bare, view[start + len(bare) :]))


def _read_directory(data: bytes) -> _Directory:
    """Read the first directory; TIFF 6.0, section 2."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    # BigTIFF widens offsets and counts to 8 bytes; otherwise the directories are alike.
    offset_type, count_type, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    (start,) = struct.unpack_from(order + offset_type, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count_type, data, start)
    begin = start + struct.calcsize(order + count_type)
    entry_format = f"{order}HH{offset_type}"
    entry_size = struct.calcsize(entry_format) + inline
    if entries > _MOST_ENTRIES:
        raise DamagedImageError(f"damaged TIFF: a directory with {entries} entries")
    tags: dict[int, tuple[int, ...]] = {}
    texts: dict[int, memoryview] = {}
    kept, others, tables = [], 0, b""
    for at in range(begin, begin + entries * entry_size, entry_size):
        tag, field_type, count = struct.unpack_from(entry_format, data, at)
        size = count * _TYPE_SIZES.get(field_type, 0)
        if tag not in _PIXEL_TAGS:
            others += _MOST_LEFT_IN + 1 if tag in _FOLLOWED else size
        if tag not in _READ_TAGS:
            continue
        where = at + entry_size - inline
        if size > inline:
            (where,) = struct.unpack_from(order + offset_type, data, where)
        if tag in tags or tag in texts:
            raise DamagedImageError(f"damaged TIFF: tag {tag} occurs twice")
        if where + size > len(data):
            raise DamagedImageError(f"damaged TIFF: the file does not hold the {count:,} values of tag {tag}")
        if tag in (_XMP, _PROFILE):
            texts[tag] = memoryview(data)[where : where + size]
            continue
        if count > _MOST_VALUES:
            raise ImageTooLargeError(f"TIFF whose tag {tag} has {count:,} values: the limit is {_MOST_VALUES:,}")
        if tag in _PIXEL_TAGS:
            kept.append(data[at : at + entry_size])
        if tag == _TABLES:
            tables = data[where : where + size]
        elif tag in _INTEGER_TAGS:
            tags[tag] = _read_integers(data, order, tag, field_type, count, where)
    (following,) = struct.unpack_from(order + offset_type, data, begin + entries * entry_size)
    if others <= _MOST_LEFT_IN and tags.get(_ORIENTATION, (1,)) == (1,):
        return _Directory(tags, texts, tables, start, None, following)
    bare = struct.pack(order + count_type, len(kept)) + b"".join(kept) + bytes(inline)
    return _Directory(tags, texts, tables, start, bare, following)


def _read_integers(data: bytes, order: str, tag: int, field_type: int, count: int, where: int) -> tuple[int, ...]:
    if field_type not in _TIFF_TYPES or not count:
        raise DamagedImageError(f"damaged TIFF: {count} values of type {field_type} in tag {tag}")
    return tuple(np.frombuffer(data, order + _TIFF_TYPES[field_type], count, where).tolist())
