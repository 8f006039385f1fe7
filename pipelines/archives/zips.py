"""Zip files, whose members are read at their places."""

from __future__ import annotations

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
    DamagedArchiveError,
    Found,
    UnsupportedMemberError,
    damaged,
    member_path,
    refer_member,
)
from pipelines.records import Failure, ImageRef, Span, not_listed

_HEADER = struct.Struct("<4s22xHH")
# What a member's own header, with the name in it, seldom is longer than; where it is, a second read brings the rest.
_HEADER_GUESS = 512
_ENCRYPTED = 1


def list_zip(archive: ImageRef) -> Iterator[Found]:
    """List the files in a zip; see `list_members`."""
    try:
        with storage.open_to_read(archive.path) as file, zipfile.ZipFile(file) as directory:
            members = directory.infolist()
    except (zipfile.BadZipFile, NotImplementedError, *BROKEN) as refusal:
        # Python's module says of a file that cannot be read that it is no zip file.
        error = refusal.__context__ if isinstance(refusal.__context__, OSError) else refusal
        if isinstance(error, storage.TransientError):
            raise error from None
        yield Found(None, not_listed(archive.path, damaged(error), archive.fingerprint))
        return
    for member in members:
        # Not by `is_dir`, which takes no empty name.
        if not member.filename.endswith("/"):
            yield Found(member.filename, _found_in_zip(archive, member))


def read_in_zip(span: Span, size: int) -> bytes:
    """Read a member at its place, and unpack it to the size that the archive's directory says.

    Raises:
      DamagedArchiveError: it is not what the directory says.
      OSError: the archive cannot be read.
    """
    data = _read_stored(span)
    if span.packing == DEFLATED:
        data = _inflate(data, size)
    if zlib.crc32(data) != span.checksum:
        raise DamagedArchiveError("the member is damaged: its checksum is not the one in the archive's directory")
    return data


def _found_in_zip(archive: ImageRef, member: zipfile.ZipInfo) -> ImageRef | Failure:
    path = member_path(archive, member.filename)
    fingerprint = f"{member.file_size}-{member.CRC:08x}"
    problem = None
    if member.flag_bits & _ENCRYPTED:
        problem = "encrypted in the archive"
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"compressed by method {member.compress_type} in the archive; only deflation is read"
    elif member.header_offset + member.compress_size > archive.size:
        return not_listed(path, DamagedArchiveError("the archive breaks off before this member ends"), fingerprint)
    if problem:
        return not_listed(path, UnsupportedMemberError(problem), fingerprint)
    packing = DEFLATED if member.compress_type == zipfile.ZIP_DEFLATED else STORED
    span = Span(archive.path, member.header_offset, member.compress_size, packing, member.CRC)
    return refer_member(path, member.file_size, fingerprint, span)


def _read_stored(span: Span) -> bytes:
    """Read what is stored of a zip's member, before which stands its own header, of a length of its own."""
    raw = storage.read_range(span.archive, span.start, _HEADER_GUESS + span.length)
    if len(raw) < _HEADER.size or not raw.startswith(b"PK\x03\x04"):
        raise DamagedArchiveError("the member is not where the archive's directory says")
    _, name, extra = _HEADER.unpack_from(raw)
    begin = _HEADER.size + name + extra
    if len(raw) < begin + span.length:
        raw += storage.read_range(span.archive, span.start + len(raw), begin + span.length - len(raw))
    if len(raw) < begin + span.length:
        raise DamagedArchiveError(SHORTER)
    return raw[begin : begin + span.length]


def _inflate(data: bytes, size: int) -> bytes:
    try:
        # Never more than the directory says, whatever comes out of it: that is where a bomb would go off.
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise DamagedArchiveError(f"the member is damaged: {error}") from error
    if len(inflated) != size:
        raise DamagedArchiveError(f"the member does not unpack to the {size:,} bytes of the archive's directory")
    return inflated
