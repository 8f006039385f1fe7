"""Read the directories of a TIFF or BigTIFF; TIFF 6.0, section 2."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UnsupportedImageError
from pipelines.images.parts import Data
from pipelines.images.tiff.entries import Entry, Form, find_end, read_entries, read_header, read_integers
from pipelines.images.tiff.tags import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    DIRECTORIES,
    EXTRA,
    FILL_ORDER,
    GEO_ASCII,
    GEO_DOUBLES,
    GEO_KEY_DIRECTORY,
    HEIGHT,
    INKS,
    KIND,
    MASK_PHOTOMETRIC,
    METADATA,
    MODEL_PIXEL_SCALE,
    MODEL_TIEPOINT,
    MODEL_TRANSFORMATION,
    NO_DATA,
    OLD_KIND,
    ORIENTATION,
    PHOTOMETRIC,
    PLANES,
    PREDICTOR,
    PROFILE,
    RATIONAL_POLYNOMIALS,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    SUBSAMPLING,
    TABLES,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_SIZES,
    TILE_WIDTH,
    WIDTH,
    XMP,
)

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
PLACES = (
    *(MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION, GEO_KEY_DIRECTORY, GEO_DOUBLES, GEO_ASCII),
    RATIONAL_POLYNOMIALS,
)
"""Tags that say where on the ground the picture lies."""
_TEXTS = (PROFILE, METADATA, NO_DATA, *PLACES)
_READ = frozenset((*_PIXELS, *_ABOUT, *_TEXTS))
# Further directories, and what makes Pillow turn the image.
_FOLLOWED = frozenset((DIRECTORIES, 34665, 34853, 40965, XMP))
# To leave out less than this is not worth a copy of the file.
_MOST_LEFT_IN = 1_000_000
MOST_DIRECTORIES = 64
"""More than an image has overviews and masks."""
# The number of tiles of 16 x 16 pixels in 64 million pixels. Pillow creates an object per value.
_MOST_VALUES = 250_000
_OF_PIECES = (STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES)
# Far more than profiles and names take; each is copied.
_MOST_TEXT = 1 << 24
# What makes a picture a smaller version or a mask of another one: bits of its kind, or its old kind.
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
KINDS = (KIND, OLD_KIND, PHOTOMETRIC)
"""Tags that say whether a picture is one of these."""


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
      masks: bytes at which the directories of masks of one of them begin.
    """

    form: Form
    start: int
    end: int
    tags: dict[int, tuple[int, ...]]
    texts: dict[int, bytes]
    tables: bytes
    entries: dict[int, Entry]
    is_bare: bool
    pictures: int
    masks: tuple[int, ...] = ()

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask of one of the images in the file."""
        return bool(self.masks)

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
    masks: list[int] = []
    has_others = False
    for start, kind, has_directories in _walk(data, form, first):
        if not kind:
            mains.append(start)
        if kind == _MASK:
            masks.append(start)
        has_others |= has_directories
        if len(mains) == 2:
            break
    if not mains and has_others:
        raise UnsupportedImageError("TIFF of a thumbnail; the image itself is in a directory below it")
    main = read_at(data, form, mains[0] if mains else first)
    return main._replace(pictures=max(1, len(mains)), masks=tuple(masks))


def read_at(data: Data, form: Form, start: int) -> Directory:
    """Read a directory by the byte at which it begins.

    Raises:
      ImageError: it is damaged.
      struct.error: the file ends in it.
    """
    tags: dict[int, tuple[int, ...]] = {}
    texts: dict[int, bytes] = {}
    entries: dict[int, Entry] = {}
    others, tables = 0, b""
    for entry in read_entries(data, form, start):
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
                    f"TIFF whose tag {entry.tag} has {quantity(entry.size, 'byte')}: the limit is {_MOST_TEXT:,}"
                )
            texts[entry.tag] = data[entry.start : entry.start + entry.size * is_there]
            continue
        if not is_there:
            raise DamagedImageError(
                f"damaged TIFF: the file does not hold the {quantity(entry.number, 'value')} of tag {entry.tag}"
            )
        if entry.number > _MOST_VALUES:
            raise ImageTooLargeError(
                f"TIFF whose tag {entry.tag} has {quantity(entry.number, 'value')}: the limit is {_MOST_VALUES:,}",
                "rewrite it in larger tiles, e.g. with gdal_translate -of COG" if entry.tag in _OF_PIECES else "",
            )
        if entry.tag in _PIXELS:
            entries[entry.tag] = entry
        if entry.tag == TABLES:
            tables = data[entry.start : entry.start + entry.size]
        elif entry.tag not in _FURTHER:
            tags[entry.tag] = read_integers(data, form, entry)
    is_bare = others <= _MOST_LEFT_IN and tags.get(ORIENTATION, (1,)) == (1,)
    return Directory(form, start, find_end(data, form, start), tags, texts, tables, entries, is_bare, 1)


def find_reduced(data: Data) -> tuple[list[int], list[int]]:
    """Return the bytes at which the directories of smaller versions of an image begin, and those of its masks.

    Raises:
      ImageError: the first directory of the file is damaged.
      struct.error: the file ends in it.
    """
    form, first = read_header(data)
    found = list(_walk(data, form, first))
    pictures = [start for start, kind, _ in found if kind == _REDUCED]
    return pictures, [start for start, kind, _ in found if kind == _REDUCED | _MASK]


def _walk(data: Data, form: Form, first: int) -> Iterator[tuple[int, int, bool]]:
    """Yield where directories begin, what makes their images parts of another, and whether others are below them."""
    seen: set[int] = set()
    start = first
    while start and start not in seen and len(seen) < MOST_DIRECTORIES:
        seen.add(start)
        try:
            kind, start_of_next, has_directories = _look_at(data, form, start)
        except (DamagedImageError, struct.error, IndexError):
            if start == first:
                raise
            # What is behind the main image changes none of its pixels.
            return
        yield start, kind, has_directories
        start = start_of_next


def _look_at(data: Data, form: Form, start: int) -> tuple[int, int, bool]:
    """Return what makes an image a part of another, 0 if nothing; where the next one is; whether others are below."""
    kinds: dict[int, int] = {}
    has_directories = False
    for entry in read_entries(data, form, start):
        has_directories |= entry.tag == DIRECTORIES
        if entry.tag in KINDS:
            kinds[entry.tag] = read_integers(data, form, entry)[0]
    end = find_end(data, form, start)
    # Some programs end the file without saying that no directory follows.
    pointer = data[end : end + form.inline].ljust(form.inline, b"\0")
    following: int = struct.unpack(form.order + form.offset, pointer)[0]
    return kind_of(kinds), following, has_directories


def kind_of(values: Mapping[int, int]) -> int:
    """Return what makes an image a part of another one, 0 if nothing; `values` are those of the tags of `KINDS`."""
    kind = values.get(KIND, 0) & (_REDUCED | _MASK)
    kind |= _REDUCED * (values.get(OLD_KIND) == _OLD_REDUCED)
    return kind | _MASK * (values.get(PHOTOMETRIC) == MASK_PHOTOMETRIC)
