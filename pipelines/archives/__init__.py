"""Images in archives: the members of tar and zip files, named `ARCHIVE::MEMBER`, listed and read where they lie.

Nothing is unpacked to disk, and the names of members are names only. Members of a zip, and of a tar that is not
compressed, are read by their place in it, so that many workers can share one archive. A compressed tar can only be gone
through from its beginning, by one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

from pipelines.archives.members import IN_STREAM, IN_TAR, SEPARATOR, Found, UntrustedArchiveError, member_path
from pipelines.archives.tars import COMPRESSED_ENDINGS, Streams, list_tar, read_in_tar
from pipelines.archives.zips import list_zip, read_in_zip
from pipelines.records import Failure, ImageRef, not_listed
from pipelines.supervision import interruption

__all__ = [
    "ENDINGS",
    "SEPARATOR",
    "Streams",
    "is_archive",
    "is_streamed",
    "list_members",
    "read_member",
    "split_member",
]

ENDINGS = (".tar", ".zip", *COMPRESSED_ENDINGS)
"""Endings of names, in lower case, by which files are taken for archives."""


def is_archive(path: str) -> bool:
    """Tell by its name whether a file is an archive."""
    return path.lower().endswith(ENDINGS)


def is_streamed(ref: ImageRef) -> bool:
    """Tell whether an image can only be read by going through its archive."""
    return ref.place is not None and ref.place.packing == IN_STREAM


def split_member(path: str) -> tuple[str, str | None]:
    """Take the name of a member, or a pattern of names, off the path of its archive; None where there is none."""
    for match in re.finditer(SEPARATOR, path):
        if is_archive(path[: match.start()]):
            return path[: match.start()], path[match.end() :]
    return path, None


def list_members(archive: ImageRef) -> Iterator[Found]:
    """List the files in an archive, without reading them.

    Of members of one name the last one counts, as it does when the archive is unpacked. Where an archive is cut off,
    its whole members come first, and then one failure that names the place. Where its checksum tells that something is
    wrong, but not where, all of its members are failures.

    Raises:
      TransientError: the archive cannot be read now, whatever is in it.
    """
    list_kind = list_zip if archive.path.lower().endswith(".zip") else list_tar
    members: dict[str, Found] = {}
    broken: list[Failure] = []
    for found in list_kind(archive):
        interruption.check()
        if found.name is not None:
            # Taken out first, so that the order is that of the places in the archive, which are gone through.
            members.pop(found.name, None)
            members[found.name] = found
        elif isinstance(found.listed, Failure):
            broken.append(found.listed)
    if members and any(failure.error == UntrustedArchiveError.__name__ for failure in broken):
        reason = UntrustedArchiveError("the checksum of the archive is wrong, and any member may be the damaged one")
        for name in members:
            yield Found(name, not_listed(member_path(archive, name), reason, archive.fingerprint))
        return
    yield from members.values()
    yield from (Found(None, failure) for failure in broken)


def read_member(ref: ImageRef) -> bytes:
    """Read a member of an archive; one that `is_streamed` costs a pass of its own, which `Streams` save.

    Raises:
      DamagedArchiveError: it is not what the archive's directory says.
      OSError: the archive cannot be read.
    """
    assert ref.place
    if is_streamed(ref):
        with closing(Streams()) as streams:
            return streams.read(ref)
    return read_in_tar(ref.place) if ref.place.packing == IN_TAR else read_in_zip(ref.place, ref.size)
