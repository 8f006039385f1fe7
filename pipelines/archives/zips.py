"""Zip files, whose members are read by offset."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from pipelines import storage
from pipelines.archives.members import (
    BROKEN,
    DEFLATED,
    SHORTER,
    STORED,
    Admit,
    DamagedArchiveError,
    Found,
    UnsupportedMemberError,
    damaged,
    member_path,
    refer_member,
)
from pipelines.images.limits import HEAD, SMALL_FILE
from pipelines.records import Failure, ImageRef, Span, not_listed

_HEADER = struct.Struct("<4s22xHH")
# A member's local header, which contains its name, is seldom longer; if it is, a second read fetches the rest.
_HEADER_GUESS = 512
_ENCRYPTED = 1
_PIECE = 1 << 20


def list_zip(archive: ImageRef) -> Iterator[Found]:
    """List the files in a zip; see `list_members`."""
    try:
        with storage.open_to_read(archive.path) as file, zipfile.ZipFile(file) as directory:
            members = directory.infolist()
    except (zipfile.BadZipFile, NotImplementedError, *BROKEN) as refusal:
        # Python's module reports a file that cannot be read as not a zip file.
        error = refusal.__context__ if isinstance(refusal.__context__, OSError) else refusal
        if isinstance(error, storage.TransientError):
            raise error from None
        yield Found(None, not_listed(archive.path, damaged(error), archive.fingerprint))
        return
    for member in members:
        # Not `is_dir`, which fails on an empty name.
        if not member.filename.endswith("/"):
            yield Found(member.filename, _found_in_zip(archive, member))


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
            raise DamagedArchiveError(f"the member does not unpack to {size:,} bytes, as the archive's directory says")
    if zlib.crc32(data) != span.checksum:
        raise DamagedArchiveError("the member is damaged: its checksum differs from the archive's directory")
    return data


def _found_in_zip(archive: ImageRef, member: zipfile.ZipInfo) -> ImageRef | Failure:
    path = member_path(archive, member.filename)
    fingerprint = f"{member.file_size}-{member.CRC:08x}"
    problem = None
    if member.flag_bits & _ENCRYPTED:
        problem = "the member is encrypted"
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"compression method {member.compress_type} is not supported, only deflate (8)"
    elif member.header_offset + member.compress_size > archive.size:
        return not_listed(path, DamagedArchiveError("the archive ends before this member does"), fingerprint)
    if problem:
        return not_listed(path, UnsupportedMemberError(problem), fingerprint)
    packing = DEFLATED if member.compress_type == zipfile.ZIP_DEFLATED else STORED
    span = Span(archive.path, member.header_offset, member.compress_size, packing, member.CRC)
    return refer_member(path, member.file_size, fingerprint, span)


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
