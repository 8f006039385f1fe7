"""List and read images in tar and zip files in place; members are named `ARCHIVE::MEMBER`.

Nothing is unpacked to disk, and member names are never used as paths. Members of zips and uncompressed tars are read by
offset, so that many workers can share one archive. A compressed tar has to be read from its start, by one worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.archives.members import (
    IN_STREAM,
    IN_TAR,
    SEPARATOR,
    Admit,
    Found,
    UntrustedArchiveError,
    member_path,
)
from pipelines.archives.tars import COMPRESSED_ENDINGS, Streams, list_tar, read_in_tar
from pipelines.archives.zips import list_zip, read_in_zip
from pipelines.images.limits import HEAD, SMALL_FILE
from pipelines.records import Failure, ImageRef, not_listed
from pipelines.supervision import interruption

__all__ = [
    "ENDINGS",
    "SEPARATOR",
    "Admit",
    "Streams",
    "is_archive",
    "is_streamed",
    "list_members",
    "read_member",
    "split_member",
]

ENDINGS = (".tar", ".zip", *COMPRESSED_ENDINGS)
"""File name endings, in lower case, of archives."""


def is_archive(path: str) -> bool:
    """Return whether a file is an archive, judging by its name."""
    return path.lower().endswith(ENDINGS)


def is_streamed(ref: ImageRef) -> bool:
    """Return whether an image can only be read by streaming its archive from the start."""
    return ref.place is not None and ref.place.packing == IN_STREAM


def split_member(path: str) -> tuple[str, str | None]:
    """Split a path into the archive and the member name or pattern; None if there is no member."""
    for match in re.finditer(SEPARATOR, path):
        if is_archive(path[: match.start()]):
            return path[: match.start()], path[match.end() :]
    return path, None


def list_members(archive: ImageRef) -> Iterator[Found]:
    """List the files in an archive without reading them.

    If several members share a name, the last one counts, as when unpacking. A truncated archive yields its intact
    members, then one failure that names the offset. If its checksum shows damage but not where, all members are
    failures.

    Raises:
      TransientError: the archive cannot be read now, whatever it contains.
    """
    list_kind = list_zip if archive.path.lower().endswith(".zip") else list_tar
    members: dict[str, Found] = {}
    broken: list[Failure] = []
    for found in list_kind(archive):
        interruption.check()
        if found.name is not None:
            # Removed first, so that the order is that of the offsets: a compressed tar is read in that order.
            members.pop(found.name, None)
            members[found.name] = found
        elif isinstance(found.listed, Failure):
            broken.append(found.listed)
    if members and any(failure.error == UntrustedArchiveError.__name__ for failure in broken):
        reason = UntrustedArchiveError("the archive's checksum is wrong, so any member may be damaged")
        for name in members:
            yield Found(name, not_listed(member_path(archive, name), reason, archive.fingerprint))
        return
    yield from members.values()
    yield from (Found(None, failure) for failure in broken)


def read_member(ref: ImageRef, admit: Admit) -> bytes:
    """Read a member of an archive at its place; one that `is_streamed` is read through `Streams` instead.

    Args:
      ref: the member.
      admit: asked before a large one is read or unpacked; what it raises passes through.

    Raises:
      DamagedArchiveError: the member does not match the archive's directory.
      OSError: the archive cannot be read.
    """
    assert ref.place
    if ref.place.packing != IN_TAR:
        return read_in_zip(ref.place, ref.size, admit)
    if ref.size > SMALL_FILE:
        admit(read_in_tar(ref.place._replace(length=HEAD)), ref.size)
    return read_in_tar(ref.place)
