"""Read the entries of the directories of a TIFF or BigTIFF; TIFF 6.0, section 2."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError
from pipelines.images.parts import Data

# NumPy types for the field types that tags of integers may have.
_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 16: "u8"}
# Bytes per value of each field type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_SIGNED = (6, 8, 9)
MOST_ENTRIES = 4096
"""libtiff's limit for a directory."""


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


class Entry(NamedTuple):
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


def read_header(data: Data) -> tuple[Form, int]:
    """Read how a file writes its directories, and where the first one begins."""
    order = "<" if data[:2] == b"II" else ">"
    form = Form(order, "Q", "Q", 8) if data[2:4] in (b"+\0", b"\0+") else Form(order, "I", "H", 4)
    return form, _unpack(data, form.order + form.offset, form.pointer)


def read_entries(data: Data, form: Form, start: int) -> Iterator[Entry]:
    """Yield the entries of a directory; their values may lie beyond the end of the file."""
    number = _unpack(data, form.order + form.number, start)
    if number > MOST_ENTRIES:
        raise DamagedImageError(f"damaged TIFF: a directory with {quantity(number, 'entry', 'entries')}")
    head = struct.Struct(f"{form.order}HH{form.offset}")
    size = head.size + form.inline
    begin = start + struct.calcsize(form.order + form.number)
    table = data[begin : begin + number * size]
    for at in range(0, number * size, size):
        tag, kind, count = head.unpack_from(table, at)
        length, values = count * _SIZES.get(kind, 0), begin + at + head.size
        if length > form.inline:
            values = _unpack(table, form.order + form.offset, at + head.size)
        yield Entry(tag, kind, count, values, length, table[at : at + size].ljust(size, b"\0"))


def find_end(data: Data, form: Form, start: int) -> int:
    """Return the byte behind the entries of a directory, at which the place of the next one stands."""
    number: int = _unpack(data, form.order + form.number, start)
    return start + struct.calcsize(form.order + form.number) + number * (4 + 2 * form.inline)


def read_integers(data: Data, form: Form, entry: Entry) -> tuple[int, ...]:
    """Return the values of an entry of integers.

    Raises:
      DamagedImageError: they are none, or not there.
    """
    if entry.type not in _TYPES or not entry.number or entry.start + entry.size > len(data):
        raise DamagedImageError(
            f"damaged TIFF: {quantity(entry.number, 'value')} of type {entry.type} in tag {entry.tag}"
        )
    stored = data[entry.start : entry.start + entry.size]
    integers = np.frombuffer(stored, form.order + _TYPES[entry.type])
    if entry.type in _SIGNED and integers.min() < 0:
        raise DamagedImageError(f"damaged TIFF: the value {integers.min()} in tag {entry.tag}")
    return tuple(integers.tolist())


def _unpack(data: Data, code: str, at: int) -> Any:
    # A slice: the bytes may not have been fetched.
    return struct.unpack(code, data[at : at + struct.calcsize(code)])[0]
