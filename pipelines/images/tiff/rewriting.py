"""Rewrite the directory of a TIFF, so that Pillow sees what makes pixels, in the words that it knows."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.images.layout import DamagedImageError
from pipelines.images.tiff.directories import INTEGERS, Directory
from pipelines.images.tiff.entries import read_header
from pipelines.images.tiff.tags import Tags

_BYTE = 1
HEADER = 8
"""Bytes of a TIFF before anything else."""


class Field(NamedTuple):
    """The values of a tag, whatever their type is.

    Attributes:
      type: of each, as TIFF numbers it.
      number: of values.
      stored: their bytes.
    """

    type: int
    number: int
    stored: bytes


def leave_pixels(directory: Directory, data: bytes, tags: Tags) -> bytes:
    """Make a file that holds this image as its first, without entries on which no pixel depends.

    Pillow does not read BigTIFF in Motorola byte order, so that becomes a TIFF.

    Args:
      directory: of the image.
      data: the file.
      tags: integers that take the place of those in the directory; those that are not among them are left out.

    Raises:
      DamagedImageError: the directory lies within its own values.
    """
    form = directory.form
    # Pillow takes some integers for text if they are bytes.
    has_bytes = any(entry.type == _BYTE for tag, entry in directory.entries.items() if tag in INTEGERS)
    if tags != directory.tags or has_bytes or (form.inline == 8 and form.order == ">"):
        return _rewritten(directory, data, tags)
    changes: list[tuple[int, bytes]] = []
    if not directory.is_bare:
        kept = [entry.stored for entry in directory.entries.values()]
        bare = struct.pack(form.order + form.number, len(kept)) + b"".join(kept) + bytes(form.inline)
        changes.append((directory.start, bare))
    if directory.start != read_header(data)[1]:
        changes.append((form.pointer, struct.pack(form.order + form.offset, directory.start)))
    return _changed(data, sorted(changes))


def _rewritten(directory: Directory, data: bytes, tags: Tags) -> bytes:
    """Append a directory with other values to a file; it becomes a TIFF if it was a BigTIFF."""
    others = {
        tag: Field(entry.type, entry.number, data[entry.start : entry.start + entry.size])
        for tag, entry in directory.entries.items()
        if tag not in INTEGERS
    }
    integers = {tag: values for tag, values in tags.items() if tag in INTEGERS}
    return write_tiff(directory.form.order, [memoryview(data)[HEADER:]], integers, others)


def write_tiff(order: str, body: Sequence[bytes | memoryview], integers: Tags, others: Mapping[int, Field]) -> bytes:
    """Write a TIFF of a single directory.

    Args:
      order: of bytes, as `struct` names it.
      body: what follows its header of `HEADER` bytes, in pieces; the directory follows in turn.
      integers: values of tags.
      others: those of further tags.
    """
    end = HEADER + sum(map(len, body))
    table, outside, start = b"", b"", end + end % 2
    values = {**{tag: _pack(order, numbers) for tag, numbers in integers.items()}, **others}
    outside_at = start + 2 + 12 * len(values) + 4
    for tag, (kind, number, stored) in sorted(values.items()):
        place = stored.ljust(4, b"\0")
        if len(stored) > 4:
            place = struct.pack(order + "I", outside_at + len(outside))
            outside += stored + bytes(len(stored) % 2)
        table += struct.pack(f"{order}HHI", tag, kind, number) + place
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    number_of_entries = struct.pack(order + "H", len(values))
    return b"".join((header, *body, bytes(end % 2), number_of_entries, table, bytes(4), outside))


def _pack(order: str, integers: Sequence[int]) -> Field:
    kind, code = (3, "H") if max(integers) < 1 << 16 else (4, "I")
    return Field(kind, len(integers), struct.pack(f"{order}{len(integers)}{code}", *integers))


def _changed(data: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    if not changes:
        return data
    view, parts, end = memoryview(data), list[bytes | memoryview](), 0
    for start, replacement in changes:
        if start < end:
            raise DamagedImageError("damaged TIFF: its directory lies within its own values")
        parts += [view[end:start], replacement]
        end = start + len(replacement)
    return b"".join((*parts, view[end:]))
