"""Read the directories of a TIFF or BigTIFF; TIFF 6.0, section 2."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UnsupportedImageError
from pipelines.images.tiff.strips import (
    BITS,
    COMPRESSION,
    HEIGHT,
    PHOTOMETRIC,
    PLANES,
    PREDICTOR,
    SAMPLES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    TILE_WIDTH,
    WIDTH,
)

# TIFF 6.0 tags, and NumPy types for the field types that these tags may have.
KIND, OLD_KIND, FILL_ORDER, ORIENTATION, COLOUR_MAP = 254, 255, 266, 274, 320
INKS, EXTRA, SAMPLE_FORMAT, TABLES, SUBSAMPLING, PROFILE = 332, 338, 339, 347, 530, 34675
_DIRECTORIES, _XMP = 330, 700
METADATA, NO_DATA = 42112, 42113
"""GDAL's."""
INTEGERS = frozenset(
    (
        *(WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANES, STRIP_OFFSETS, STRIP_ROWS, STRIP_SIZES),
        *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES),
        *(PHOTOMETRIC, PREDICTOR, FILL_ORDER, COLOUR_MAP, INKS, EXTRA, SAMPLE_FORMAT, SUBSAMPLING),
    )
)
"""Tags of integers on which pixels depend."""
# Integers on which no pixel depends, but which picture it is, and how it is turned.
_ABOUT = (KIND, OLD_KIND, ORIENTATION)
# Further tags on which pixels depend: the tables of JPEGs, and YCbCr.
_FURTHER = (TABLES, 529, 531, 532)
# Pillow and libtiff read every entry they see, and thousands of them can share the same megabytes.
_PIXELS = frozenset((*INTEGERS, *_FURTHER))
# GeoTIFF 1.1: the size of pixels, points tied to the ground, or a matrix; keys of the system, and their values. Last,
# rational polynomials, which say it only together with heights.
PLACES = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""Tags that say where on the ground the picture lies."""
_TEXTS = (PROFILE, METADATA, NO_DATA, *PLACES)
_READ = frozenset((*_PIXELS, *_ABOUT, *_TEXTS))
# Further directories, and what makes Pillow turn the image.
_FOLLOWED = frozenset((_DIRECTORIES, 34665, 34853, 40965, _XMP))
# To leave out less than this is not worth a copy of the file.
_MOST_LEFT_IN = 1_000_000
_SIGNED = (6, 8, 9)
_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 16: "u8"}
# Bytes per value of each field type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
# libtiff's limit for a directory, and more directories than an image has overviews and masks.
MOST_ENTRIES, MOST_DIRECTORIES = 4096, 64
# The number of tiles of 16 x 16 pixels in 64 million pixels. Pillow creates an object per value.
_MOST_VALUES = 250_000
# Far more than profiles and names take; each is copied.
_MOST_TEXT = 1 << 24
# What makes a picture a smaller version or a mask of another one: bits of its kind, or its old kind.
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
MASK_PHOTOMETRIC = 4
KINDS = (KIND, OLD_KIND, PHOTOMETRIC)
"""Tags that say whether a picture is one of these."""


class Data(Protocol):
    """The bytes of a file, which may be fetched as they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> bytes: ...


class Form(NamedTuple):
    """How a file writes its directories; BigTIFF widens offsets and counts, and is alike otherwise.

    Attributes:
      order: of bytes, as `struct` names it.
      offset: `struct`'s code of an offset.
      number: that of the number of entries in a directory.
      inline: bytes of a value that an entry holds itself.
    """

    order: str
    offset: str
    number: str
    inline: int

    @property
    def pointer(self) -> int:
        """Byte at which the place of the first directory stands."""
        return self.inline


class _Entry(NamedTuple):
    """An entry of a directory.

    Attributes:
      tag: what it is about.
      type: of its values.
      number: of its values.
      start: byte at which the values begin.
      size: bytes that they take.
      stored: the entry itself.
    """

    tag: int
    type: int
    number: int
    start: int
    size: int
    stored: bytes


class Directory(NamedTuple):
    """The directory of an image.

    Attributes:
      form: of the file.
      start: byte at which it begins.
      end: byte behind its entries.
      tags: its integers.
      texts: the ICC profile, the names of bands, the value that stands for no data, and `PLACES`: their bytes, by tag.
      tables: those that JPEGs in it share.
      entries: those on which pixels depend, by tag.
      is_bare: whether there is so little else in it that Pillow may see it.
      pictures: images in the file, counted up to 2; overviews and masks are none.
      mask: byte at which the directory of the first mask of one of them begins; 0 if there is none.
    """

    form: Form
    start: int
    end: int
    tags: dict[int, tuple[int, ...]]
    texts: dict[int, bytes]
    tables: bytes
    entries: dict[int, _Entry]
    is_bare: bool
    pictures: int
    mask: int = 0

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask of one of the images in the file."""
        return self.mask > 0

    def spans(self) -> list[tuple[int, int]]:
        """Return the first byte of the header, the directory and each value outside it, and the byte behind them."""
        outside = [entry for entry in self.entries.values() if entry.size > self.form.inline]
        values = [(entry.start, entry.start + entry.size) for entry in outside]
        return [(0, 2 * self.form.inline), (self.start, self.end), *values]


def read_directory(data: Data) -> Directory:
    """Read the directory of the main image.

    Some programs write a thumbnail first; many write overviews and masks behind the image.

    Raises:
      ImageError: it is damaged, or has more in it than any image.
      struct.error: the file ends in it.
    """
    form, first = read_header(data)
    mains: list[int] = []
    seen: set[int] = set()
    start, has_others, mask = first, False, 0
    while start and start not in seen and len(mains) < 2 and len(seen) < MOST_DIRECTORIES:
        seen.add(start)
        try:
            kind, start_of_next, has_directories = _look_at(data, form, start)
        except (DamagedImageError, struct.error, IndexError):
            if start == first:
                raise
            # What is behind the main image changes none of its pixels.
            break
        if not kind:
            mains.append(start)
        mask = mask or start * (kind == _MASK)
        has_others |= has_directories
        start = start_of_next
    if not mains and has_others:
        raise UnsupportedImageError("TIFF of a thumbnail; the image itself is in a directory below it")
    main = _read(data, form, mains[0] if mains else first)
    return main._replace(pictures=max(1, len(mains)), mask=mask)


def read_mask(data: Data, directory: Directory) -> Directory:
    """Read the directory of the mask of an image that has one.

    Raises:
      ImageError: it is damaged.
      struct.error: the file ends in it.
    """
    return _read(data, directory.form, directory.mask)


def _look_at(data: Data, form: Form, start: int) -> tuple[int, int, bool]:
    """Return what makes an image a part of another, 0 if nothing; where the next one is; whether others are below."""
    kinds: dict[int, int] = {}
    has_directories = False
    for entry in _entries(data, form, start):
        has_directories |= entry.tag == _DIRECTORIES
        if entry.tag in KINDS:
            kinds[entry.tag] = _read_integers(data, form, entry)[0]
    end = _end(data, form, start)
    # Some programs end the file without saying that no directory follows.
    pointer = data[end : end + form.inline].ljust(form.inline, b"\0")
    following: int = struct.unpack(form.order + form.offset, pointer)[0]
    return kind_of(kinds), following, has_directories


def kind_of(values: Mapping[int, int]) -> int:
    """Return what makes an image a part of another one, 0 if nothing; `values` are those of the tags of `KINDS`."""
    kind = values.get(KIND, 0) & (_REDUCED | _MASK)
    kind |= _REDUCED * (values.get(OLD_KIND) == _OLD_REDUCED)
    return kind | _MASK * (values.get(PHOTOMETRIC) == MASK_PHOTOMETRIC)


def _read(data: Data, form: Form, start: int) -> Directory:
    tags: dict[int, tuple[int, ...]] = {}
    texts: dict[int, bytes] = {}
    entries: dict[int, _Entry] = {}
    others, tables = 0, b""
    for entry in _entries(data, form, start):
        if entry.tag not in _PIXELS:
            others += _MOST_LEFT_IN + 1 if entry.tag in _FOLLOWED else entry.size
        if entry.tag not in _READ:
            continue
        if entry.tag in tags or entry.tag in texts or entry.tag in entries:
            raise DamagedImageError(f"damaged TIFF: tag {entry.tag} occurs twice")
        is_there = entry.start + entry.size <= len(data)
        if entry.tag in _TEXTS:
            # What says something about the pixels, and is not there, changes none of them.
            if is_there and entry.size > _MOST_TEXT:
                raise ImageTooLargeError(
                    f"TIFF whose tag {entry.tag} has {entry.size:,} bytes: the limit is {_MOST_TEXT:,}"
                )
            texts[entry.tag] = data[entry.start : entry.start + entry.size * is_there]
            continue
        if not is_there:
            raise DamagedImageError(
                f"damaged TIFF: the file does not hold the {entry.number:,} values of tag {entry.tag}"
            )
        if entry.number > _MOST_VALUES:
            raise ImageTooLargeError(
                f"TIFF whose tag {entry.tag} has {entry.number:,} values: the limit is {_MOST_VALUES:,}"
            )
        if entry.tag in _PIXELS:
            entries[entry.tag] = entry
        if entry.tag == TABLES:
            tables = data[entry.start : entry.start + entry.size]
        elif entry.tag not in _FURTHER:
            tags[entry.tag] = _read_integers(data, form, entry)
    is_bare = others <= _MOST_LEFT_IN and tags.get(ORIENTATION, (1,)) == (1,)
    return Directory(form, start, _end(data, form, start), tags, texts, tables, entries, is_bare, 1)


def _read_integers(data: Data, form: Form, entry: _Entry) -> tuple[int, ...]:
    if entry.type not in _TYPES or not entry.number or entry.start + entry.size > len(data):
        raise DamagedImageError(f"damaged TIFF: {entry.number} values of type {entry.type} in tag {entry.tag}")
    stored = data[entry.start : entry.start + entry.size]
    integers = np.frombuffer(stored, form.order + _TYPES[entry.type])
    if entry.type in _SIGNED and integers.min() < 0:
        raise DamagedImageError(f"damaged TIFF: the value {integers.min()} in tag {entry.tag}")
    return tuple(integers.tolist())


def read_header(data: Data) -> tuple[Form, int]:
    """Read how a file writes its directories, and where the first one begins."""
    order = "<" if data[:2] == b"II" else ">"
    form = Form(order, "Q", "Q", 8) if data[2:4] in (b"+\0", b"\0+") else Form(order, "I", "H", 4)
    return form, _unpack(data, form.order + form.offset, form.pointer)


def _entries(data: Data, form: Form, start: int) -> Iterator[_Entry]:
    """Yield the entries of a directory; their values may lie beyond the end of the file."""
    number = _unpack(data, form.order + form.number, start)
    if number > MOST_ENTRIES:
        raise DamagedImageError(f"damaged TIFF: a directory with {number} entries")
    head = struct.Struct(f"{form.order}HH{form.offset}")
    size = head.size + form.inline
    begin = start + struct.calcsize(form.order + form.number)
    table = data[begin : begin + number * size]
    for at in range(0, number * size, size):
        tag, kind, count = head.unpack_from(table, at)
        length, values = count * _SIZES.get(kind, 0), begin + at + head.size
        if length > form.inline:
            values = _unpack(table, form.order + form.offset, at + head.size)
        yield _Entry(tag, kind, count, values, length, table[at : at + size].ljust(size, b"\0"))


def _end(data: Data, form: Form, start: int) -> int:
    """Return the byte behind the entries of a directory, at which the place of the next one stands."""
    number: int = _unpack(data, form.order + form.number, start)
    return start + struct.calcsize(form.order + form.number) + number * (4 + 2 * form.inline)


def _unpack(data: Data, code: str, at: int) -> Any:
    # A slice: the bytes may not have been fetched.
    return struct.unpack(code, data[at : at + struct.calcsize(code)])[0]
