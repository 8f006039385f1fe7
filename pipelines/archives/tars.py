"""Tar files: members of plain ones are read by offset, compressed ones are streamed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import queue
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, Any, ClassVar, NamedTuple

from pipelines import storage
from pipelines.archives.members import (
    BROKEN,
    IN_STREAM,
    IN_TAR,
    SHORTER,
    DamagedArchiveError,
    Found,
    UnsupportedMemberError,
    UntrustedArchiveError,
    damaged,
    member_path,
    refer_member,
)
from pipelines.records import ImageRef, Span, not_listed

COMPRESSED_ENDINGS: dict[str, Callable[[Any], Any]] = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
_BLOCK, _READ_AHEAD = 512, 1 << 20
_LONGEST_HEADER = 1 << 20


class Streams:
    """Open compressed tars; members read in archive order cost one pass."""

    _idle: ClassVar[queue.LifoQueue[Streams]] = queue.LifoQueue()

    @classmethod
    def borrow(cls) -> Streams:
        """Return idle streams if there are any, so that a wave resumes in an archive where the last one stopped."""
        try:
            return cls._idle.get_nowait()
        except queue.Empty:
            return cls()

    def give_back(self) -> None:
        """Make these streams available to others, still open."""
        self._idle.put(self)

    def __init__(self) -> None:
        """Create streams with nothing open yet."""
        self._archive = ("", "")
        self._opened = ExitStack()
        self._stream: IO[bytes] | None = None

    def read(self, ref: ImageRef) -> bytes:
        """Read a member; going backwards costs a pass from the start.

        Args:
          ref: a member stored `IN_STREAM`.

        Raises:
          DamagedArchiveError: the archive changed after it was listed.
          OSError: the archive cannot be read.
        """
        assert ref.place
        span = ref.place
        archive = (span.archive, ref.fingerprint.rpartition("@")[0])
        if self._stream is None or archive != self._archive:
            self.close()
            self._archive, self._stream = archive, _open(span.archive, self._opened)
        try:
            self._stream.seek(span.start)
            data = self._stream.read(span.length)
        except BROKEN as error:
            self.close()
            raise damaged(error) from error
        if len(data) < span.length:
            raise DamagedArchiveError(SHORTER)
        return data

    def close(self) -> None:
        """Close the open archive."""
        self._opened.close()
        self._stream = None


def read_in_tar(span: Span) -> bytes:
    """Read a member by offset.

    Raises:
      DamagedArchiveError: the archive shrank after it was listed.
      OSError: the archive cannot be read.
    """
    data = storage.read_range(span.archive, span.start, span.length)
    if len(data) < span.length:
        raise DamagedArchiveError(SHORTER)
    return data


class _Gap(NamedTuple):
    """What lies between a place in a tar and the next header.

    Attributes:
      header: the byte at which the next member begins; None if none does.
      zeros: whether a block of zeros lies there, as at the end of a tar.
      damaged: whether something else lies there.
    """

    header: int | None
    zeros: bool
    damaged: bool

    @property
    def ends_archive(self) -> bool:
        """Whether this is the end of a whole tar."""
        return self.header is None and self.zeros and not self.damaged


class _Headers:
    """A tar stream that refuses to read headers larger than any name."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, length: int) -> bytes:
        if not 0 <= length <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {length:,} bytes")
        return self._stream.read(length)


def list_tar(archive: ImageRef) -> Iterator[Found]:
    """List the files in a tar; see `list_members`."""
    packing = IN_TAR if archive.path.lower().endswith(".tar") else IN_STREAM
    last: tarfile.TarInfo | None = None
    with ExitStack() as opened:
        try:
            stream = _open(archive.path, opened)
            first = _look_past(stream, 0)
            if first.header:
                yield _broken(archive, 0, first)
            stream.seek(first.header or 0)
            headers: Any = _Headers(stream)
            tar = opened.enter_context(tarfile.TarFile(fileobj=headers, encoding="utf-8"))
            while True:
                while member := tar.next():
                    if member.size < 0:
                        # The next member would be this one again, forever.
                        raise tarfile.ReadError(f"a member of {member.size} bytes")
                    # A member is known to be complete only when the next one has been reached.
                    if last:
                        yield _found(archive, last, packing)
                    last = None if member.isdir() else member
                    # `TarFile` would keep them all.
                    tar.members = []  # type: ignore[attr-defined]
                if last:
                    yield _found(archive, last, packing)
                    last = None
                # `TarFile` takes damage, zeros and the end of the file for the end of the archive. Members may follow.
                place = tar.offset
                gap = _look_past(stream, place)
                if not gap.ends_archive:
                    yield _broken(archive, place, gap)
                if gap.header is None:
                    return
                tar.offset = gap.header
        except storage.TransientError:
            raise
        except gzip.BadGzipFile as error:
            # Raised at the end, when it is no longer known which member is damaged.
            yield Found(None, not_listed(archive.path, UntrustedArchiveError(str(error)), archive.fingerprint))
        except BROKEN as error:
            if last is None:
                yield Found(None, not_listed(archive.path, damaged(error), archive.fingerprint))
            elif packing == IN_TAR and last.offset_data + last.size <= archive.size:
                yield _found(archive, last, packing)
                yield _broken(archive, archive.size, _Gap(None, zeros=False, damaged=False))
            else:
                where = archive.size if packing == IN_TAR else last.offset_data
                reason = DamagedArchiveError(f"the archive is truncated in this member, at or after byte {where:,}")
                yield Found(last.name, not_listed(member_path(archive, last.name), reason, archive.fingerprint))


def _look_past(stream: IO[bytes], place: int) -> _Gap:
    """Look from a block that is not known to be a header for the next one that is; of a stream, to its checksum."""
    stream.seek(place)
    zeros = damaged = False
    while block := stream.read(_BLOCK):
        if block.count(0) == len(block):
            zeros = zeros or len(block) == _BLOCK
        elif _is_header(block):
            return _Gap(place, zeros, damaged)
        else:
            # A piece of a block is where a tar was cut off, but not behind its end.
            damaged = damaged or zeros or len(block) == _BLOCK
        place += len(block)
    return _Gap(None, zeros, damaged)


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except BROKEN:
        return False
    return True


def _found(archive: ImageRef, member: tarfile.TarInfo, packing: str) -> Found:
    path = member_path(archive, member.name)
    # A tar has no checksums of its members: any change to the archive may have changed any of them.
    fingerprint = f"{archive.fingerprint}@{member.offset_data}"
    if not member.isreg() or member.issparse():
        problem = ("a link, " if member.islnk() or member.issym() else "") + "not a regular file"
        return Found(member.name, not_listed(path, UnsupportedMemberError(problem), fingerprint))
    span = Span(archive.path, member.offset_data, member.size, packing)
    return Found(member.name, refer_member(path, member.size, fingerprint, span))


def _open(path: str, opened: ExitStack) -> IO[bytes]:
    """Open a tar, decompressing it if need be, so that its members can be read by offset."""
    file = opened.enter_context(storage.open_to_read(path))
    for ending, decompress in COMPRESSED_ENDINGS.items():
        if path.lower().endswith(ending):
            stream: IO[bytes] = opened.enter_context(decompress(file))
            return stream
    return file


def _broken(archive: ImageRef, place: int, gap: _Gap) -> Found:
    """Name the place at which members of a tar may be lost."""
    if gap.header is None:
        how = "is damaged" if gap.damaged else "is truncated"
        message = f"the archive {how} at byte {place:,}; members before it are read, the rest is lost"
    elif gap.damaged:
        message = (
            f"the archive is damaged at byte {place:,}; members before it and from byte {gap.header:,} on are read"
        )
    else:
        message = (
            f"the archive ends at byte {place:,}, but members follow at byte {gap.header:,}; they are read, "
            "but not what the zeros in between may have overwritten"
        )
    return Found(None, not_listed(archive.path, DamagedArchiveError(message), archive.fingerprint))
