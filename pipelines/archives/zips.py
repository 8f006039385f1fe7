"""Zip files, whose members are read by offset."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator

import numpy as np

from pipelines import storage
from pipelines.archives.members import (
    BROKEN,
    DEFLATED,
    SHORTER,
    STORED,
    Admit,
    DamagedArchiveError,
    FoundMember,
    UnsupportedMemberError,
    damaged,
    member_path,
    refer_member,
)
from pipelines.archives.zip_directory import Entry, ZipDirectory
from pipelines.errors import quantity
from pipelines.images.limits import HEAD, SMALL_FILE
from pipelines.records import Failure, ImageRef, Span, not_listed
from pipelines.supervision import interruption

_HEADER = struct.Struct("<4s22xHH")
# A member's local header, which contains its name, is seldom longer; if it is, a second read fetches the rest.
_HEADER_GUESS = 512
# The second bit is that of strong encryption.
_ENCRYPTED = 0x41
_PIECE = 1 << 20


def list_zip(archive: ImageRef) -> Iterator[FoundMember]:
    """List the files in a zip; see `list_members`."""
    try:
        with storage.open_to_read(archive.path) as file:
            # A store may keep the whole archive compressed; the size that was listed is then that of less.
            archive = archive._replace(size=file.seek(0, os.SEEK_END))
            directory = ZipDirectory(file, archive.size)
            overlapping = _find_overlapping(directory)
            unnamed = 0
            for number, entry in enumerate(directory):
                unnamed += not entry.is_named
                if not entry.name.endswith("/"):
                    yield FoundMember(entry.name, _found_in_zip(archive, entry, overlaps=number in overlapping))
            if unnamed:
                problem = DamagedArchiveError(f"the archive's directory has zeros in member names: {unnamed:,}")
                yield FoundMember(None, not_listed(archive.path, problem, archive.fingerprint))
    except storage.TransientError:
        raise
    except BROKEN as error:
        yield FoundMember(None, not_listed(archive.path, damaged(error), archive.fingerprint))


def read_in_zip(span: Span, size: int, admit: Admit) -> bytes:
    """Read a member by offset, and unpack it to the size given in the archive's directory.

    Args:
      span: where it is.
      size: that it unpacks to, in bytes.
      admit: asked before a large one is read and unpacked; what it raises passes through.

    Raises:
      DamagedArchiveError: the member does not match the directory.
      OSError: the archive cannot be read.
    """
    if max(span.length, size) > SMALL_FILE:
        start, beginning = _read_stored(span, min(span.length, HEAD))
        deflated = span.packing == DEFLATED
        head = _inflate(beginning, HEAD) if deflated else beginning
        # Without any, it is not the image that is at fault.
        if head:
            admit(head, span.length + (size if deflated else 0))
        data = storage.read_range(span.archive, start, span.length)
    else:
        _, data = _read_stored(span, span.length)
    if len(data) < span.length:
        raise DamagedArchiveError(SHORTER)
    if span.packing == DEFLATED:
        data = _inflate(data, size + 1)
        # Never more than the directory says, or a zip bomb would go off here.
        if len(data) != size:
            raise DamagedArchiveError(
                f"the member does not unpack to {quantity(size, 'byte')}, as the archive's directory says"
            )
    if zlib.crc32(data) != span.checksum:
        raise DamagedArchiveError("the member is damaged: its checksum differs from the archive's directory")
    return data


def _find_overlapping(directory: ZipDirectory) -> frozenset[int]:
    """Return the numbers of the entries whose data reaches into that of the next member.

    Otherwise a small zip could name the same data a million times, to be unpacked as often.
    """
    # Not integers: sizes may be anything up to 2**64.
    starts, ends = array("d"), array("d")
    # What follows a damaged entry is lost, and reported when the members are listed.
    with contextlib.suppress(DamagedArchiveError):
        for entry in directory:
            interruption.check()
            starts.append(entry.start)
            ends.append(entry.start + _HEADER.size + entry.packed)
    order = np.argsort(starts, kind="stable")
    reaching = np.take(ends, order)[:-1] > np.take(starts, order)[1:]
    return frozenset(order[:-1][reaching].tolist())


def _found_in_zip(archive: ImageRef, member: Entry, *, overlaps: bool) -> ImageRef | Failure:
    path = member_path(archive, member.name)
    fingerprint = f"{member.size}-{member.checksum:08x}"
    problem = None
    if member.flags & _ENCRYPTED:
        problem = "the member is encrypted"
    elif member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"compression method {member.method} is not supported, only deflate (8)"
    elif member.damaged or not 0 <= member.start <= archive.size:
        return not_listed(
            path, DamagedArchiveError("the archive's directory does not say where this member is"), fingerprint
        )
    elif member.start + member.packed > archive.size:
        return not_listed(path, DamagedArchiveError("the archive ends before this member does"), fingerprint)
    elif overlaps:
        problem = "the member's data overlaps another's, as in a zip bomb"
    if problem:
        return not_listed(path, UnsupportedMemberError(problem), fingerprint)
    packing = DEFLATED if member.method == zipfile.ZIP_DEFLATED else STORED
    span = Span(archive.path, member.start, member.packed, packing, member.checksum)
    return refer_member(path, member.size, fingerprint, span)


def _read_stored(span: Span, length: int) -> tuple[int, bytes]:
    """Read the beginning of a member's stored data, which follows a local header of varying length.

    Returns:
      The byte of the archive at which the data begins, and as many bytes of it, fewer if the archive ends before.
    """
    raw = storage.read_range(span.archive, span.start, _HEADER_GUESS + length)
    if len(raw) < _HEADER.size or not raw.startswith(b"PK\x03\x04"):
        raise DamagedArchiveError("the member is not at the offset given in the archive's directory")
    _, name, extra = _HEADER.unpack_from(raw)
    begin = _HEADER.size + name + extra
    if len(raw) < begin + length:
        raw += storage.read_range(span.archive, span.start + len(raw), begin + length - len(raw))
    return span.start + begin, raw[begin : begin + length]


def _inflate(data: bytes, most: int) -> bytes:
    """Inflate data to at most so many bytes, piece by piece: zlib would hold the whole result twice."""
    inflating, inflated, packed = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), memoryview(data)
    try:
        for begin in range(0, len(packed), _PIECE):
            rest: memoryview | bytes = packed[begin : begin + _PIECE]
            while rest and (missing := most - inflated.tell()):
                inflated.write(inflating.decompress(rest, min(missing, _PIECE)))
                rest = inflating.unconsumed_tail
        # What zlib has read, but had no room to write.
        while (missing := most - inflated.tell()) and (last := inflating.decompress(b"", min(missing, _PIECE))):
            inflated.write(last)
    except zlib.error as error:
        raise DamagedArchiveError(f"the member is damaged: {error}") from error
    return inflated.getvalue()
