"""Tar files: members of plain ones are read by offset, compressed ones are streamed."""

from __future__ import annotations

import math
import os
import queue
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, ClassVar

from pipelines import storage
from pipelines.archives.compression import COMPRESSED_ENDINGS, open_compressed
from pipelines.archives.members import (
    BROKEN,
    IN_STREAM,
    IN_TAR,
    SHORTER,
    DamagedArchiveError,
    FoundMember,
    UnsupportedMemberError,
    damaged,
    member_path,
    refer_member,
)
from pipelines.archives.tar_headers import Gap, Member, find_members
from pipelines.errors import quantity
from pipelines.records import ImageRef, Span, not_listed

_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)


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
          DamagedArchiveError: the archive is damaged.
          ChangedFileError: the archive has changed since it was listed.
          OSError: the archive cannot be read.
        """
        assert ref.place
        span = ref.place
        archive = (span.archive, _version(ref))
        if self._stream is None or archive != self._archive:
            self.close()
            self._archive, self._stream = archive, _open(*archive, self._opened)
        try:
            self._stream.seek(span.start)
            data = self._stream.read(span.length)
        except BROKEN as error:
            self.close()
            translated = damaged(error)
            if translated is error:
                # Caused by itself, it would send whoever follows the causes round and round.
                raise
            raise translated from error
        if len(data) < span.length:
            raise DamagedArchiveError(SHORTER)
        return data

    def close(self) -> None:
        """Close the open archive."""
        self._opened.close()
        self._stream = None


def read_in_tar(ref: ImageRef, length: int) -> bytes:
    """Read the beginning of a member by offset.

    Raises:
      DamagedArchiveError: the archive is shorter than it was said to be.
      ChangedFileError: the archive has changed since it was listed.
      OSError: the archive cannot be read.
    """
    assert ref.place
    data = storage.read_range(ref.place.archive, ref.place.start, length, _version(ref))
    if len(data) < length:
        raise DamagedArchiveError(SHORTER)
    return data


def list_tar(archive: ImageRef) -> Iterator[FoundMember]:
    """List the files in a tar; see `list_members`."""
    packing = IN_TAR if archive.path.lower().endswith(".tar") else IN_STREAM
    last: Member | None = None
    gaps, first_gap, error = 0, None, None
    with ExitStack() as opened:
        try:
            stream = _open(archive.path, "", opened, archive.size)
            if packing == IN_TAR:
                # A store may keep the whole archive compressed; the size that was listed is then that of less.
                archive = archive._replace(size=stream.seek(0, os.SEEK_END))
                stream.seek(0)
            for item in find_members(stream):
                # A member is known to be whole only when the next thing has been reached.
                if last:
                    yield _found(archive, last, packing, stream.tell())
                last = item if isinstance(item, Member) else None
                if isinstance(item, Gap):
                    gaps, first_gap = gaps + 1, first_gap or item
            if last:
                yield _found(archive, last, packing, stream.tell())
        except storage.TransientError:
            raise
        except BROKEN as reason:
            if last:
                yield _found(archive, last, packing, stream.tell())
            error = damaged(reason)
    if first_gap and not error:
        first_gap = first_gap._replace(start=min(first_gap.start, archive.size)) if packing == IN_TAR else first_gap
        error = DamagedArchiveError(_describe(first_gap, gaps - 1))
    if error:
        # One for all places: an archive is one input.
        yield FoundMember(None, not_listed(archive.path, error, archive.fingerprint))


def _found(archive: ImageRef, member: Member, packing: str, reached: int) -> FoundMember:
    """Refer to a member of a tar that could be read up to a byte."""
    path = member_path(archive, member.name)
    # A tar has no checksums of its members: any change to the archive may have changed any of them.
    fingerprint = f"{archive.fingerprint}@{member.start}"
    problem: OSError | None = None
    if member.end > (archive.size if packing == IN_TAR else reached):
        problem = DamagedArchiveError(
            f"the archive is truncated or damaged within this member, which begins at byte {member.start:,}"
        )
    elif not member.is_named:
        problem = DamagedArchiveError("the archive is damaged just before this member, whose name may be incomplete")
    elif member.kind in _LINKS:
        problem = UnsupportedMemberError("a link, not a regular file")
    elif member.kind == tarfile.GNUTYPE_SPARSE or member.kind not in tarfile.REGULAR_TYPES:
        problem = UnsupportedMemberError("not a regular file")
    if problem:
        return FoundMember(member.name, not_listed(path, problem, fingerprint))
    span = Span(archive.path, member.start, member.size, packing)
    return FoundMember(member.name, refer_member(path, member.size, fingerprint, span))


def _describe(gap: Gap, others: int) -> str:
    """Name the place at which members of a tar may be lost."""
    more = f" ({quantity(others, 'more such place')})" if others else ""
    if gap.header is None:
        if gap.start == 0 and gap.damaged:
            return "this is not a tar file"
        how = "damaged" if gap.damaged else "truncated"
        return f"the archive is {how} at byte {gap.start:,}; members before it are read, the rest is lost{more}"
    if gap.damaged:
        place = f"byte {gap.start:,}; members before it and from byte {gap.header:,} on are read"
        return f"the archive is damaged at {place}{more}"
    return (
        f"the archive ends at byte {gap.start:,}, but more members follow at byte {gap.header:,}; these are read, "
        f"but any that the zeros in between have overwritten are lost{more}"
    )


def _version(ref: ImageRef) -> str:
    """Return the fingerprint with which the archive of a member was listed: other bytes may be there in another one."""
    return ref.fingerprint.rpartition("@")[0]


def _open(path: str, fingerprint: str, opened: ExitStack, size: float = math.inf) -> IO[bytes]:
    """Open a tar, decompressing it if need be, so that its members can be read by offset."""
    file = opened.enter_context(storage.open_to_read(path, fingerprint))
    for ending in COMPRESSED_ENDINGS:
        if path.lower().endswith(ending):
            return opened.enter_context(open_compressed(file, ending, size))
    return file
