"""Read the directory at the end of a zip entry by entry, as APPNOTE.TXT of PKWARE describes it.

Python's `zipfile` holds the whole directory, at 900 bytes per entry, and refuses all of it for one entry that it cannot
decode. Directories are found as `zipfile` finds them, also after other data and before a comment.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from pipelines.archives.members import DamagedArchiveError

_END, _END64, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4x2H4xL2L3H8xL")
_EXTRA = struct.Struct("<HH")
_LONGEST_COMMENT = 0xFFFF
_IN_UTF8 = 1 << 11
_ELSEWHERE = 0xFFFFFFFF
"""A number too large for its field; it follows in the entry's extra data."""
_ZIP64 = 1

_IN_MEMORY = 1 << 22
"""Bytes of a directory up to which it is read at once."""


class Entry(NamedTuple):
    """An entry of a zip's directory.

    Attributes:
      name: of the member; bytes that are not in its encoding are surrogates.
      flags: bit field.
      method: of compression.
      checksum: CRC-32 of the unpacked data.
      packed: bytes of the packed data.
      size: bytes of the unpacked data.
      start: byte at which the member's header begins.
      damaged: whether a size or the place is missing.
    """

    name: str
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    start: int
    damaged: bool = False


class ZipDirectory:
    """The directory of an open zip. It can be iterated over more than once."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        """Find the directory.

        Args:
          file: the zip.
          length: of the zip, in bytes.

        Raises:
          DamagedArchiveError: there is none.
          OSError: the file cannot be read.
        """
        end = _find_end(file, length)
        if end.size > end.place:
            raise DamagedArchiveError("the archive is damaged: its directory is larger than the archive")
        self._end = end
        # Offsets do not count what precedes the zip in its file.
        self._shift = end.place - end.size - end.offset
        self._begin, self._file = end.place - end.size, file
        if end.size <= _IN_MEMORY:
            file.seek(self._begin)
            self._begin, self._file = 0, io.BytesIO(file.read(end.size))

    def __iter__(self) -> Iterator[Entry]:
        """Read the entries.

        Raises:
          DamagedArchiveError: an entry is not where it should be, so that the following are lost.
          OSError: the file cannot be read.
        """
        self._file.seek(self._begin)
        left, count = self._end.size, 0
        while left:
            header = self._file.read(min(_ENTRY.size, left))
            if len(header) < _ENTRY.size or not header.startswith(b"PK\x01\x02"):
                raise _lost_after(count)
            *fields, name, extra, comment, start = _ENTRY.unpack(header)
            length = name + extra + comment
            variable = self._file.read(length)
            left -= _ENTRY.size + length
            if len(variable) < length or left < 0:
                raise _lost_after(count)
            yield self._decode(fields, start, variable[:name], variable[name : name + extra])
            count += 1
        if count & self._end.given_bits != self._end.entries:
            raise DamagedArchiveError(
                f"the archive is damaged: its directory has {count:,} entries, "
                f"but its end record says {self._end.entries:,}"
            )

    def _decode(self, fields: Sequence[int], start: int, name: bytes, extra: bytes) -> Entry:
        _, flags, method, checksum, packed, size = fields
        encoding, errors = ("utf-8", "surrogateescape") if flags & _IN_UTF8 else ("cp437", "strict")
        # Like other programs, which take a zero byte for the end of the name.
        text = name.decode(encoding, errors).partition("\0")[0]
        numbers, damaged = [size, packed, start], False
        if _ELSEWHERE in numbers:
            missing = [place for place, number in enumerate(numbers) if number == _ELSEWHERE]
            found = _read_long_numbers(extra)
            damaged = len(found) < len(missing)
            for place, number in zip(missing, found, strict=False):
                numbers[place] = number
        size, packed, start = numbers
        return Entry(text, flags, method, checksum, packed, size, start + self._shift, damaged)


class _End(NamedTuple):
    """The record at the end of a zip, which says where the directory is.

    Attributes:
      place: byte at which the directory ends.
      size: of the directory, in bytes.
      offset: of the directory, in the zip without what precedes it.
      entries: their number.
      given_bits: bits of the number that are given.
    """

    place: int
    size: int
    offset: int
    entries: int
    given_bits: int


def _find_end(file: IO[bytes], length: int) -> _End:
    begin = max(0, length - _LONGEST_COMMENT - _END.size - _LOCATOR.size - _END64.size)
    file.seek(begin)
    tail = file.read(length - begin)
    end = len(tail) - _END.size
    if not (tail[max(0, end) :].startswith(b"PK\x05\x06") and tail.endswith(b"\0\0")):
        end = tail.rfind(b"PK\x05\x06", 0, max(0, end) + 4)
    if end < 0:
        raise DamagedArchiveError("the archive is damaged: it has no zip directory")
    *_, count, size, offset, _ = _END.unpack_from(tail, end)
    end64 = end - _LOCATOR.size - _END64.size
    if end64 >= 0 and tail.startswith(b"PK\x06\x06", end64) and tail.startswith(b"PK\x06\x07", end - _LOCATOR.size):
        *_, count, size, offset = _END64.unpack_from(tail, end64)
        return _End(begin + end64, size, offset, count, (1 << 64) - 1)
    return _End(begin + end, size, offset, count, 0xFFFF)


def _read_long_numbers(extra: bytes) -> tuple[int, ...]:
    """Return the numbers in an entry's extra data that were too large for their fields."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size + length
        if kind == _ZIP64:
            data = extra[at - length : at]
            return struct.unpack_from(f"<{len(data) // 8}Q", data)
    return ()


def _lost_after(count: int) -> DamagedArchiveError:
    return DamagedArchiveError(f"the archive's directory is damaged after entry {count:,}; the rest is lost")
