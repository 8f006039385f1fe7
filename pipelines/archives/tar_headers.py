"""Find the headers in a tar, forwards in one pass, also after damage.

Python's `tarfile` takes zeros, damage and the end of the file alike for the end of the archive, and seeks backwards,
which in a compressed tar costs a pass from the start.
"""

from __future__ import annotations

import re
import tarfile
from collections import deque
from collections.abc import Iterator
from typing import IO, NamedTuple

from pipelines.archives.members import BROKEN
from pipelines.supervision import interruption

BLOCK = 512

_LONGEST_EXTENSION = 1 << 20
"""Bytes of the longest extended header that is read; it holds a name, and perhaps extended attributes."""

_LONGEST_NAME, _MOST_RECORDS = 1 << 14, 10_000
"""Bytes of the longest name in it, four times as many as a path may have, and records."""

_MOST_READ_AGAIN = 1 << 16
"""Blocks of an archive that are looked through a second time: each of a million headers could ask for 2,048."""

_LARGEST, _LONGEST_SIZE = 1 << 62, 18
"""Bytes of the largest member that could be, and digits of its size."""

_MAGIC, _POSIX = 257, b"ustar\0"
_CHECKSUM = re.compile(rb"[ \0]*[0-7]+[ \0]*\Z")
_RECORD = re.compile(rb"(\d{1,8}) ([^=]+)=")
_SPARSE, _SPARSE_NAME = "GNU.sparse.", "GNU.sparse.name"
_USED = {"path", "size", _SPARSE_NAME}
_CONTENTLESS = {tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}
_PAX = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
_EXTENSIONS = {*_PAX, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}


class Member(NamedTuple):
    """A member of a tar.

    Attributes:
      name: its path in the archive.
      start: byte at which its content begins.
      size: bytes of its content, as stored.
      kind: its type, one of those of `tarfile`.
      is_named: whether the name is whole; it may be cut short where the header that extends it is damaged.
    """

    name: str
    start: int
    size: int
    kind: bytes
    is_named: bool

    @property
    def end(self) -> int:
        """Byte after its content."""
        return self.start + self.size


class Gap(NamedTuple):
    """What lies between a place in a tar and the next header.

    Attributes:
      start: the byte at which a header was expected.
      header: the byte at which the next one begins; None if none does.
      zeros: whether a block of zeros lies there, as at the end of a tar.
      damaged: whether something else lies there.
    """

    start: int
    header: int | None
    zeros: bool
    damaged: bool

    @property
    def ends_archive(self) -> bool:
        """Whether this is the end of a whole tar."""
        return self.header is None and self.zeros and not self.damaged


def find_members(stream: IO[bytes]) -> Iterator[Member | Gap]:
    """Find the members of a tar, without folders, and every gap but the end of a whole tar.

    A member is yielded before its content is passed: it is whole if the stream does not end within it.

    Args:
      stream: a plain tar, or what a compressed one unpacks to.
    """
    blocks, shared = _Blocks(stream), dict[str, str]()
    extension, is_named = _Extension(), True
    while True:
        place = blocks.place
        block = blocks.next()
        header = _parse(block)
        if header is None or extension.is_damaged:
            gap, block = _look_past(blocks, place, block)
            header = _parse(block)
            if extension.place is not None:
                # The member that it belongs to is missing, or its name, whatever follows.
                damaged = gap.damaged or gap.zeros or gap.header is not None
                gap, is_named = gap._replace(start=extension.place, damaged=damaged), False
            extension = _Extension()
            if not gap.ends_archive:
                yield gap
            if header is None:
                return
        if header.type in _EXTENSIONS:
            is_named = True
            extension.read(header, blocks, shared)
            continue
        if header.type == tarfile.GNUTYPE_SPARSE:
            _pass_sparse_map(blocks, block)
        member = _member(header, blocks.place, {**shared, **extension.records}, is_named)
        if header.type != tarfile.DIRTYPE:
            yield member
        if header.type not in _CONTENTLESS:
            blocks.skip(member.size)
        extension, is_named = _Extension(), True


class _Blocks:
    """The blocks of a tar, in order."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._again: deque[bytes] = deque()
        self._read_again = 0
        self.place = 0

    def next(self) -> bytes:
        """Read a block; shorter at the end."""
        interruption.check()
        block = self._again.popleft() if self._again else self._stream.read(BLOCK)
        self.place += len(block)
        return block

    def put_back(self, blocks: list[bytes]) -> None:
        """Undo the reading of the last blocks, unless too many were read again already."""
        self._read_again += len(blocks)
        if self._read_again <= _MOST_READ_AGAIN:
            self._again.extendleft(reversed(blocks))
            self.place -= sum(map(len, blocks))

    def skip(self, size: int) -> None:
        """Pass the content of a member; the stream may end before."""
        size += -size % BLOCK
        while self._again and size:
            size -= len(self.next())
        if size:
            self.place = self._stream.seek(self.place + size)


class _Extension:
    """What extended headers say of the member after them.

    Attributes:
      place: byte at which the first one begins; None if there is none.
      records: by keyword, as in a pax header.
      is_damaged: whether one of them cannot be read.
    """

    def __init__(self) -> None:
        self.place: int | None = None
        self.records: dict[str, str] = {}
        self.is_damaged = False

    def read(self, header: tarfile.TarInfo, blocks: _Blocks, shared: dict[str, str]) -> None:
        """Read a header that the stream has just passed; what it says of all members goes to `shared`."""
        place = blocks.place - BLOCK
        if header.size > _LONGEST_EXTENSION:
            blocks.skip(header.size)
            body, records = list[bytes](), None
        else:
            body = [blocks.next() for _ in range(-(-header.size // BLOCK))]
            records = _records(header, b"".join(body)[: header.size])
        if header.type == tarfile.XGLTYPE and records is not None:
            shared.update(records)
            return
        self.place = place if self.place is None else self.place
        self.records.update(records or {})
        if records is None:
            self.is_damaged = True
            # If blocks are missing, a header lies in what was read.
            blocks.put_back([block for block in body if block])


def _records(header: tarfile.TarInfo, body: bytes) -> dict[str, str] | None:
    """Read the content of an extended header; None if it is damaged."""
    if len(body) < header.size:
        return None
    if header.type in _PAX:
        return _pax_records(body)
    name = body.rstrip(b"\0")
    if not name or b"\0" in name or len(name) < len(body) - 1 or len(name) > _LONGEST_NAME:
        return None
    return {"path": _text(name)} if header.type == tarfile.GNUTYPE_LONGNAME else {}


def _pax_records(body: bytes) -> dict[str, str] | None:
    r"""Read the records of a pax header, `LENGTH KEYWORD=VALUE\n` each; None if it is damaged."""
    records, place, number = dict[str, str](), 0, 0
    while place < len(body):
        number += 1
        begin = _RECORD.match(body, place)
        end = place + int(begin[1]) if begin else 0
        if number > _MOST_RECORDS or not begin or end <= begin.end() - 1 or body[end - 1 : end] != b"\n":
            return None
        keyword = _text(begin[2])
        if keyword.startswith(_SPARSE):
            records[_SPARSE] = ""
        if keyword in _USED:
            if end - begin.end() > _LONGEST_NAME:
                return None
            records[keyword] = _text(body[begin.end() : end - 1])
        place = end
    size = records.get("size", "0")
    if records.get("path") == "" or not size.isdecimal() or len(size) > _LONGEST_SIZE:
        return None
    return records


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _member(header: tarfile.TarInfo, start: int, records: dict[str, str], is_named: bool) -> Member:
    kind = tarfile.GNUTYPE_SPARSE if _SPARSE in records else header.type
    name = records.get(_SPARSE_NAME) or records.get("path") or header.name
    return Member(name, start, int(records.get("size", header.size)), kind, is_named)


def _pass_sparse_map(blocks: _Blocks, block: bytes) -> None:
    """Pass the blocks that continue the map of holes in a header of the old GNU format."""
    more = block[482:483]
    while more not in (b"", b"\0"):
        more = blocks.next()[504:505]


def _look_past(blocks: _Blocks, place: int, block: bytes) -> tuple[Gap, bytes]:
    """Look for the next header from a block on; return it, or what is left at the end."""
    begin, zeros, damaged = place, False, False
    while block:
        if block.count(0) == len(block):
            zeros = zeros or len(block) == BLOCK
        elif _parse(block):
            break
        else:
            # A piece of a block is where a tar was cut off, but not after its end.
            damaged = damaged or zeros or len(block) == BLOCK
        place = blocks.place
        block = blocks.next()
    return Gap(begin, place if block else None, zeros, damaged), block


def _parse(block: bytes) -> tarfile.TarInfo | None:
    """Read a header; None if the block is none."""
    # Most blocks are ruled out by this, 20 times as fast.
    if len(block) < BLOCK or not _CHECKSUM.match(block, 148, 156):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except BROKEN:
        return None
    if not 0 <= header.size <= _LARGEST:
        return None
    if not block.startswith(_POSIX, _MAGIC):
        # GNU tar stores times where POSIX has the beginning of a long name, in incremental archives.
        header.name = _text(block[:100].partition(b"\0")[0])
    return header
