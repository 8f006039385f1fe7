"""Rewrite the directory of a TIFF, so that Pillow sees what makes pixels, in the words that it knows."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pipelines.images.layout import DamagedImageError
from pipelines.images.tiff_directories import COLOUR_MAP, Directory, read_header
from pipelines.images.tiff_strips import PLANES, SAMPLES


def leave_pixels(directory: Directory, data: bytes, tags: Mapping[int, tuple[int, ...]]) -> bytes:
    """Make a file that holds this image as its first, without entries on which no pixel depends.

    Where decoders take a file at its word, it says what is meant: a single band is not stored band by band, and levels
    of a colour map go up to 65535, although some programs write them up to 255. Pillow does not read BigTIFF in
    Motorola byte order, so that becomes a TIFF.

    Args:
      directory: of the image.
      data: the file.
      tags: those of the directory, or others that take their place; an entry without values is left out.

    Raises:
      DamagedImageError: the directory lies within its own values.
    """
    form, tags = directory.form, dict(tags)
    if tags.get(SAMPLES, (1,))[0] == 1 and PLANES in tags:
        tags[PLANES] = (1,)
    if max(tags.get(COLOUR_MAP, (256,))) < 256:
        tags[COLOUR_MAP] = tuple(level * 257 for level in tags[COLOUR_MAP])
    if tags != directory.tags or (form.inline == 8 and form.order == ">"):
        return _rewritten(directory._replace(tags=tags), data)
    changes: list[tuple[int, bytes]] = []
    if not directory.is_bare:
        kept = [entry.stored for entry in directory.entries.values()]
        bare = struct.pack(form.order + form.number, len(kept)) + b"".join(kept) + bytes(form.inline)
        changes.append((directory.start, bare))
    if directory.start != read_header(data)[1]:
        changes.append((form.pointer, struct.pack(form.order + form.offset, directory.start)))
    return _changed(data, sorted(changes))


def _rewritten(directory: Directory, data: bytes) -> bytes:
    """Append a directory with other values to a file; it becomes a TIFF if it was a BigTIFF."""
    order = directory.form.order
    table, values, start = b"", b"", len(data) + len(data) % 2
    entries = {tag: entry for tag, entry in directory.entries.items() if directory.tags.get(tag) != ()}
    values_at = start + 2 + 12 * len(entries) + 4
    for tag, entry in sorted(entries.items()):
        kind, number, stored = entry.type, entry.number, data[entry.start : entry.start + entry.size]
        if tag in directory.tags:
            integers = directory.tags[tag]
            kind, code = (3, "H") if max(integers) < 1 << 16 else (4, "I")
            number, stored = len(integers), struct.pack(f"{order}{len(integers)}{code}", *integers)
        if len(stored) > 4:
            values, stored = values + stored + bytes(len(stored) % 2), struct.pack(order + "I", values_at + len(values))
        table += struct.pack(f"{order}HHI", tag, kind, number) + stored.ljust(4, b"\0")
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    number_of_entries = struct.pack(order + "H", len(entries))
    return b"".join((header, memoryview(data)[8:], bytes(len(data) % 2), number_of_entries, table, bytes(4), values))


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
