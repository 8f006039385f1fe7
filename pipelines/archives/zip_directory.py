"""Read the directory at the end of a zip entry by entry, as APPNOTE.TXT of PKWARE describes it.

Python's `zipfile` holds the whole directory, at 900 bytes per entry, and refuses all of it for one entry that it cannot
decode. It also takes whatever precedes a zip for a harmless prefix. But the last directory in a truncated zip may be
that of a zip among its members, whose images would take the place of its own.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from pipelines.archives.members import DamagedArchiveError
from pipelines.errors import quantity
from pipelines.supervision import interruption

_END, _END64, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4x2H4xL2L3H8xL")
_EXTRA = struct.Struct("<HH")
_MEMBER = b"PK\x03\x04"
# With the version needed, the flags and the method, which tell a header from a constant in a program.
_MEMBER_HEADER = re.compile(_MEMBER + rb"[\x0a-\x3f]\0..[\0-\x63]\0", re.DOTALL)
_LONGEST_COMMENT = 0xFFFF
_IN_UTF8 = 1 << 11
_ELSEWHERE = 0xFFFFFFFF
"""A number too large for its field; it follows in the entry's extra data."""
_ZIP64 = 1

_IN_MEMORY = 1 << 22
"""Bytes of a directory up to which it is read at once."""

_MOST_JOINED = 1_000
"""Zips in one file; of an empty one every 22 bytes, the end of the one before is looked for in 64 KB."""

_PIECE = 1 << 20


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
      is_named: whether the name is whole; one with zero bytes in it ends at the first of them.
    """

    name: str
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    start: int
    damaged: bool = False
    is_named: bool = True


class ZipDirectory:
    """The directories of an open zip, and of zips joined in front of it. They can be iterated over more than once."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        """Find the directories.

        Args:
          file: the zip.
          length: of the file, in bytes.

        Raises:
          DamagedArchiveError: there is none, or it is that of another zip within a truncated one.
          OSError: the file cannot be read.
        """
        self._file, self._held = file, (-1, io.BytesIO())
        end = _find_end(file, length)
        if end is None:
            raise DamagedArchiveError("the archive is damaged: it has no zip directory")
        self._ends = [end]
        while end := self._find_end_before(self._ends[-1]):
            self._ends.append(end)
            if len(self._ends) > _MOST_JOINED:
                raise DamagedArchiveError(f"the archive consists of more than {_MOST_JOINED:,} zips")
        self._ends.reverse()

    def __iter__(self) -> Iterator[Entry]:
        """Read the entries.

        Raises:
          DamagedArchiveError: an entry is not where it should be, so that the following are lost; or what follows the
            directory does not belong to it.
          OSError: the file cannot be read.
        """
        problem: DamagedArchiveError | None = None
        for end in self._ends:
            try:
                yield from self._read(end)
            except DamagedArchiveError as error:
                problem = problem or error
        if problem:
            raise problem
        last = self._ends[-1]
        if not last.fits:
            raise DamagedArchiveError(
                f"the archive is damaged after its directory, which ends at byte {last.place:,}: "
                "what follows does not belong to it"
            )

    def _find_end_before(self, end: _End) -> _End | None:
        """Return the end of the zip that another follows; None if at most a program precedes the latter."""
        if end.size > end.place:
            raise DamagedArchiveError("the archive is damaged: its directory is larger than the archive")
        if end.shift < 0:
            raise _cut(
                f"its directory is at byte {end.place - end.size:,}, and not at {end.offset:,}, as its end record says"
            )
        begin = self._find_begin(end)
        if not begin:
            return None
        before = _find_end(self._file, begin)
        if before and before.fits:
            return before
        # Offsets from the beginning of the file are not those of a zip within another.
        if end.shift:
            self._check_begin(begin, end)
        return None

    def _check_begin(self, begin: int, end: _End) -> None:
        """Refuse a zip before which members of another lie, or within which bytes are missing."""
        if _contains_members(self._file, begin):
            raise _cut(
                f"its last directory is that of a zip from byte {begin:,} on; that of the members before is missing"
            )
        if end.size:
            self._file.seek(begin)
            if self._file.read(len(_MEMBER)) != _MEMBER:
                raise _cut(f"no member begins at byte {begin:,}, from which its directory counts")

    def _find_begin(self, end: _End) -> int:
        """Return the byte at which a zip begins, after what precedes it."""
        if end.shift:
            return end.shift
        # No directory is in two zips, or reading them all would take the square of the time.
        first = end.place - end.size
        # What follows a damaged entry is reported when the entries are read.
        with contextlib.suppress(DamagedArchiveError):
            for entry in self._read(end):
                interruption.check()
                first = min(first, entry.start)
                # Nearly always the very first entry.
                if not first:
                    break
        return first

    def _read(self, end: _End) -> Iterator[Entry]:
        file, left, count = self._open(end), end.size, 0
        while left:
            header = file.read(min(_ENTRY.size, left))
            if len(header) < _ENTRY.size or not header.startswith(b"PK\x01\x02"):
                raise _lost_after(count)
            *fields, name, extra, comment, start = _ENTRY.unpack(header)
            length = name + extra + comment
            variable = file.read(length)
            left -= _ENTRY.size + length
            if len(variable) < length or left < 0:
                raise _lost_after(count)
            yield _decode(fields, start, variable[:name], variable[name : name + extra], end.shift)
            count += 1
        if count & end.given_bits != end.entries:
            raise DamagedArchiveError(
                f"the archive is damaged: its directory has {quantity(count, 'entry', 'entries')}, but its end "
                f"record says {end.entries:,}"
            )

    def _open(self, end: _End) -> IO[bytes]:
        """Return a file at the beginning of a directory; a small directory is held until another is read."""
        begin = end.place - end.size
        if end.size > _IN_MEMORY:
            self._file.seek(begin)
            return self._file
        if self._held[0] != begin:
            self._file.seek(begin)
            self._held = begin, io.BytesIO(self._file.read(end.size))
        self._held[1].seek(0)
        return self._held[1]


class _End(NamedTuple):
    """The record at the end of a zip, which says where the directory is.

    Attributes:
      place: byte at which the directory ends.
      size: of the directory, in bytes.
      offset: of the directory, in the zip without what precedes it.
      entries: their number.
      given_bits: bits of the number that are given.
      fits: whether its comment follows, and nothing else but zeros.
    """

    place: int
    size: int
    offset: int
    entries: int
    given_bits: int
    fits: bool

    @property
    def shift(self) -> int:
        """Bytes that precede the zip, and that its offsets do not count."""
        return self.place - self.size - self.offset


def _find_end(file: IO[bytes], length: int) -> _End | None:
    """Find the end of the zip that ends at a byte of a file; one that does not fit if there is no other."""
    begin = max(0, length - _LONGEST_COMMENT - _END.size - _LOCATOR.size - _END64.size)
    file.seek(begin)
    tail = file.read(length - begin)
    content = len(tail.rstrip(b"\0"))
    last = at = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - _END.size) + 4)
    # A comment may contain anything.
    while at >= 0 and not _fits(tail, at, content):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if last < 0:
        return None
    fits, at = at >= 0, at if at >= 0 else last
    *_, count, size, offset, _ = _END.unpack_from(tail, at)
    at64 = at - _LOCATOR.size - _END64.size
    if at64 >= 0 and tail.startswith(b"PK\x06\x06", at64) and tail.startswith(b"PK\x06\x07", at - _LOCATOR.size):
        *_, count, size, offset = _END64.unpack_from(tail, at64)
        return _End(begin + at64, size, offset, count, (1 << 64) - 1, fits)
    return _End(begin + at, size, offset, count, 0xFFFF, fits)


def _fits(tail: bytes, at: int, content: int) -> bool:
    """Return whether an end record and its comment reach to the end of the file, or to the zeros there."""
    after: int = at + _END.size + _END.unpack_from(tail, at)[-1]
    return content <= after <= len(tail)


def _contains_members(file: IO[bytes], length: int) -> bool:
    """Return whether the beginning of a file is that of a zip, or contains headers of members."""
    file.seek(0)
    last = b""
    for begin in range(0, length, _PIECE):
        interruption.check()
        piece = file.read(min(_PIECE, length - begin))
        if (not begin and piece.startswith(_MEMBER)) or _MEMBER_HEADER.search(last + piece):
            return True
        # A header may begin in one piece and end in the next.
        last = piece[-9:]
    return False


def _decode(fields: Sequence[int], start: int, name: bytes, extra: bytes, shift: int) -> Entry:
    _, flags, method, checksum, packed, size = fields
    encoding, errors = ("utf-8", "surrogateescape") if flags & _IN_UTF8 else ("cp437", "strict")
    # Like other programs, which take a zero byte for the end of the name.
    text, zero, _ = name.decode(encoding, errors).partition("\0")
    numbers, damaged = [size, packed, start], False
    if _ELSEWHERE in numbers:
        missing = [place for place, number in enumerate(numbers) if number == _ELSEWHERE]
        found = _read_long_numbers(extra)
        damaged = len(found) < len(missing)
        for place, number in zip(missing, found, strict=False):
            numbers[place] = number
    size, packed, start = numbers
    return Entry(text, flags, method, checksum, packed, size, start + shift, damaged, is_named=not zero)


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


def _cut(problem: str) -> DamagedArchiveError:
    return DamagedArchiveError(f"the archive is truncated or damaged: {problem}")
