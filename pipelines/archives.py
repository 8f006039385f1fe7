"""Images in archives: the members of tar and zip files, named `ARCHIVE::MEMBER`, listed and read where they lie.

Nothing is unpacked to disk, and the names of members are names only. Members of a zip, and of a tar that is not
compressed, are read by their place in it, so that many workers can share one archive. A compressed tar can only be gone
through from its beginning, by one of them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, Any, NamedTuple

from pipelines import storage
from pipelines.records import Failure, ImageRef, Span, not_listed

SEPARATOR = "::"
COMPRESSED_TARS: dict[str, Callable[[Any], Any]] = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
ENDINGS = (".tar", ".zip", *COMPRESSED_TARS)
"""Endings of names, in lower case, by which files are taken for archives."""

IN_TAR, IN_STREAM, STORED, DEFLATED = "tar", "compressed tar", "zip, stored", "zip, deflated"
"""How a member lies in its archive."""

# What Python's modules let out besides their own errors: of sizes beyond all bounds, and of headers for headers.
_STRANGE = (OverflowError, RecursionError, ValueError)
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError, *_STRANGE)
_BLOCK, _READ_AHEAD = 512, 1 << 20
_LONGEST_HEADER = 1 << 20
_ZIP_HEADER = struct.Struct("<4s22xHH")
# What a member's own header, with the name in it, seldom is longer than; where it is, a second read brings the rest.
_ZIP_HEADER_GUESS = 512
_ENCRYPTED = 1
_SHORTER = "the archive has become shorter since it was listed"


class DamagedArchiveError(OSError):
    """An archive, or a member of it, that is cut off or contradicts itself."""


class UnsupportedMemberError(OSError):
    """A member of a kind that is not read."""


class Found(NamedTuple):
    """A member of an archive.

    Attributes:
      name: in the archive.
      listed: the image, or the reason why it cannot be one.
    """

    name: str
    listed: ImageRef | Failure


def is_archive(path: str) -> bool:
    """Tell by its name whether a file is an archive."""
    return path.lower().endswith(ENDINGS)


def is_streamed(ref: ImageRef) -> bool:
    """Tell whether an image can only be read by going through its archive."""
    return ref.span is not None and ref.span.packing == IN_STREAM


def split_member(path: str) -> tuple[str, str | None]:
    """Take the name of a member, or a pattern of names, off the path of its archive; None where there is none."""
    for match in re.finditer(SEPARATOR, path):
        if is_archive(path[: match.start()]):
            return path[: match.start()], path[match.end() :]
    return path, None


def list_members(archive: ImageRef) -> Iterator[Found]:
    """List the files in an archive, without reading them.

    Of members of one name the last one counts, as it does when the archive is unpacked. Where an archive is cut off,
    its whole members come first, and then one failure that names the place.

    Raises:
      TransientError: the archive cannot be read now, whatever is in it.
    """
    list_kind = _list_zip if archive.path.lower().endswith(".zip") else _list_tar
    members: dict[str, Found] = {}
    broken = []
    for found in list_kind(archive):
        if found.name:
            # Taken out first, so that the order is that of the places in the archive, which are gone through.
            members.pop(found.name, None)
            members[found.name] = found
        else:
            broken.append(found)
    yield from members.values()
    yield from broken


def read_member(span: Span, size: int) -> bytes:
    """Read a member by its place in an archive.

    Args:
      span: where it is; not `IN_STREAM`.
      size: of the member, unpacked.

    Raises:
      DamagedArchiveError: it is not what the archive's directory says.
      OSError: the archive cannot be read.
    """
    if span.packing == IN_TAR:
        data = storage.read_range(span.archive, span.start, span.length)
        if len(data) < span.length:
            raise DamagedArchiveError(_SHORTER)
        return data
    data = _read_zipped(span)
    if span.packing == DEFLATED:
        data = _inflate(data, size)
    if zlib.crc32(data) != span.checksum:
        raise DamagedArchiveError("the member is damaged: its checksum is not the one in the archive's directory")
    return data


class Streams:
    """Compressed tars that are gone through; members that are asked for in their order cost one pass."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._archive = ""
        self._opened = ExitStack()
        self._stream: IO[bytes] | None = None

    def read(self, span: Span) -> bytes:
        """Read a member; going back costs a pass from the beginning.

        Raises:
          DamagedArchiveError: the archive is not what it was when it was listed.
          OSError: it cannot be read.
        """
        if self._stream is None or span.archive != self._archive:
            self.close()
            self._archive, self._stream = span.archive, _open_tar(span.archive, self._opened)
        try:
            self._stream.seek(span.start)
            data = self._stream.read(span.length)
        except _BROKEN as error:
            self.close()
            raise _damaged(error) from error
        if len(data) < span.length:
            raise DamagedArchiveError(_SHORTER)
        return data

    def close(self) -> None:
        """Close what is open."""
        self._opened.close()
        self._stream = None


class _Headers:
    """A tar of which headers are read, and nothing that claims to be one and is larger than any name."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, length: int) -> bytes:
        if not 0 <= length <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {length:,} bytes")
        return self._stream.read(length)


def _list_tar(archive: ImageRef) -> Iterator[Found]:
    packing = IN_TAR if archive.path.lower().endswith(".tar") else IN_STREAM
    last: tarfile.TarInfo | None = None
    with ExitStack() as opened:
        try:
            stream = _open_tar(archive.path, opened)
            headers: Any = _Headers(stream)
            tar = opened.enter_context(tarfile.open(fileobj=headers, mode="r:", encoding="utf-8"))
            while member := tar.next():
                if member.size < 0:
                    # What follows it would be itself, for ever.
                    raise tarfile.ReadError(f"a member of {member.size} bytes")
                # That it is whole is known when the next one has been reached.
                if last:
                    yield _found_in_tar(archive, last, packing)
                last = None if member.isdir() else member
                # It would keep them all.
                tar.members = []  # type: ignore[attr-defined]
            if last:
                yield _found_in_tar(archive, last, packing)
                last = None
            # It takes damage for the end, and the end of the file as well.
            stream.seek(tar.offset)
            mark = stream.read(_BLOCK)
            while packing == IN_STREAM and stream.read(_READ_AHEAD):
                # What follows is nothing but the checksum over all of it, which is looked at when it is reached.
                pass
            if mark.count(0) < _BLOCK:
                yield _broken(archive, tar.offset, "is damaged" if len(mark) == _BLOCK else "breaks off")
        except storage.TransientError:
            raise
        except _BROKEN as error:
            if last is None:
                yield Found("", not_listed(archive.path, _damaged(error), archive.fingerprint))
            elif packing == IN_TAR and last.offset_data + last.size <= archive.size:
                yield _found_in_tar(archive, last, packing)
                yield _broken(archive, archive.size, "breaks off")
            else:
                where = archive.size if packing == IN_TAR else last.offset_data
                reason = DamagedArchiveError(f"the archive breaks off in this member, at or after byte {where:,}")
                yield Found(last.name, not_listed(_member_path(archive, last.name), reason, archive.fingerprint))


def _found_in_tar(archive: ImageRef, member: tarfile.TarInfo, packing: str) -> Found:
    path = _member_path(archive, member.name)
    # A tar has no checksums of what is in it: any change of the archive may be one of every member.
    fingerprint = f"{archive.fingerprint}@{member.offset_data}"
    if not member.isreg() or member.issparse():
        kind = "a link" if member.islnk() or member.issym() else "no plain file"
        return Found(member.name, not_listed(path, UnsupportedMemberError(f"{kind} in the archive"), fingerprint))
    span = Span(archive.path, member.offset_data, member.size, packing)
    return Found(member.name, _refer(path, member.size, fingerprint, span))


def _list_zip(archive: ImageRef) -> Iterator[Found]:
    try:
        with storage.open_to_read(archive.path) as file, zipfile.ZipFile(file) as directory:
            members = directory.infolist()
    except (zipfile.BadZipFile, NotImplementedError, *_BROKEN) as refusal:
        # Python's module says of a file that cannot be read that it is no zip file.
        error = refusal.__context__ if isinstance(refusal.__context__, OSError) else refusal
        if isinstance(error, storage.TransientError):
            raise error from None
        yield Found("", not_listed(archive.path, _damaged(error), archive.fingerprint))
        return
    for member in members:
        # Not by `is_dir`, which takes no empty name.
        if not member.filename.endswith("/"):
            yield Found(member.filename, _found_in_zip(archive, member))


def _found_in_zip(archive: ImageRef, member: zipfile.ZipInfo) -> ImageRef | Failure:
    path = _member_path(archive, member.filename)
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
    return _refer(path, member.file_size, fingerprint, span)


def _refer(path: str, size: int, fingerprint: str, span: Span) -> ImageRef | Failure:
    try:
        path.encode()
    except UnicodeEncodeError:
        return not_listed(path, UnsupportedMemberError("the name is not UTF-8"), fingerprint)
    return ImageRef(path, size, fingerprint, span)


def _read_zipped(span: Span) -> bytes:
    """Read what is stored of a zip's member, before which stands its own header, of a length of its own."""
    raw = storage.read_range(span.archive, span.start, _ZIP_HEADER_GUESS + span.length)
    if len(raw) < _ZIP_HEADER.size or not raw.startswith(b"PK\x03\x04"):
        raise DamagedArchiveError("the member is not where the archive's directory says")
    _, name, extra = _ZIP_HEADER.unpack_from(raw)
    begin = _ZIP_HEADER.size + name + extra
    if len(raw) < begin + span.length:
        raw += storage.read_range(span.archive, span.start + len(raw), begin + span.length - len(raw))
    if len(raw) < begin + span.length:
        raise DamagedArchiveError(_SHORTER)
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


def _open_tar(path: str, opened: ExitStack) -> IO[bytes]:
    """Open a tar, of which the bytes of members can be read at their places, also where it is compressed."""
    file = opened.enter_context(storage.open_to_read(path))
    for ending, decompress in COMPRESSED_TARS.items():
        if path.lower().endswith(ending):
            stream: IO[bytes] = opened.enter_context(decompress(file))
            return stream
    return file


def _member_path(archive: ImageRef, name: str) -> str:
    return f"{archive.path}{SEPARATOR}{name}"


def _broken(archive: ImageRef, place: int, how: str) -> Found:
    reason = DamagedArchiveError(f"the archive {how} at byte {place:,}; what was before is read, the rest is lost")
    return Found("", not_listed(archive.path, reason, archive.fingerprint))


def _damaged(error: Exception) -> OSError:
    # What storage refused is told as it is.
    if isinstance(error, (storage.TransientError, FileNotFoundError, PermissionError)):
        return error
    return DamagedArchiveError(f"the archive is damaged: {' '.join(str(error).split()) or type(error).__name__}")
