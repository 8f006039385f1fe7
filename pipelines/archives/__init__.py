"""List and read images in tar and zip files in place; members are named `ARCHIVE::MEMBER`.

Nothing is unpacked to disk, and member names are never used as paths. Members of zips and uncompressed tars are read by
offset, so that many workers can share one archive. A compressed tar has to be read from its start, by one worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pipelines import storage
from pipelines.archives.compression import COMPRESSED_ENDINGS
from pipelines.archives.members import IN_STREAM, IN_TAR, SEPARATOR, Admit, UntrustedArchiveError
from pipelines.archives.packed import PackedNames, SeenPaths
from pipelines.archives.tars import Streams, list_tar, read_in_tar
from pipelines.archives.zips import list_zip, read_in_zip
from pipelines.images.limits import HEAD, SMALL_FILE
from pipelines.records import Failure, ImageRef, Listed, not_listed
from pipelines.supervision import interruption

__all__ = [
    "ENDINGS",
    "SEPARATOR",
    "Admit",
    "Streams",
    "is_archive",
    "is_streamed",
    "list_members",
    "name_file",
    "read_member",
    "split_member",
]

ENDINGS = (".tar", ".zip", *COMPRESSED_ENDINGS)
"""File name endings, in lower case, of archives."""
_LONGEST_ENDING = max(map(len, ENDINGS))


def is_archive(path: str) -> bool:
    """Return whether a file is an archive, judging by its name."""
    return path.lower().endswith(ENDINGS)


def is_streamed(ref: ImageRef) -> bool:
    """Return whether an image can only be read by streaming its archive from the start."""
    return ref.place is not None and ref.place.packing == IN_STREAM


def split_member(path: str) -> tuple[str, str | None]:
    """Split a path into the archive and the member name or pattern; None if there is no member."""
    for match in _ends_of_archives(path):
        return path[: match.start()], path[match.end() :]
    return path, None


def name_file(path: str) -> str:
    """Return a spelling of a file's path that no member of an archive has.

    It is the path itself, unless that reads like the path of a member, as of a file named `x.tar::m.jpg`. Such a path
    gets a mark for each `ARCHIVE::` in it: `/./x.tar::m.jpg` is the file, and `/x.tar::m.jpg` the member of `/x.tar`.
    """
    marks = sum(1 for _ in _ends_of_archives(path))
    return storage.marked(path, marks) if marks else path


def list_members(archive: ImageRef, wanted: Callable[[str], object]) -> Iterator[Listed]:
    """List the files in an archive without reading them.

    If several members share a name, the last one counts, as when unpacking. A truncated archive yields its intact
    members, then one failure that names the offset. If its checksum shows damage but not where, all members are
    failures.

    Args:
      archive: its file.
      wanted: returns whether a member is to be listed, given its name.

    Yields:
      Members, in the order in which they are stored; then failures of the archive itself, under its own path.

    Raises:
      TransientError: the archive cannot be read now, whatever it contains.
    """
    list_kind = list_zip if archive.path.lower().endswith(".zip") else list_tar
    seen, last = SeenPaths(), dict[str, int]()
    broken: list[Failure] = []
    final = -1

    def read() -> Iterator[Listed]:
        nonlocal final
        number = 0
        for name, listed in list_kind(archive):
            interruption.check()
            if name is None:
                assert isinstance(listed, Failure)
                broken.append(listed)
            elif wanted(name):
                if not seen.add(listed.path):
                    last[listed.path] = number
                if isinstance(listed, ImageRef):
                    final = number
                number += 1
                yield listed

    # To the end, since only there is it known whether a compressed archive can be trusted.
    members = PackedNames(read())
    untrusted = len(members) > 0 and any(failure.error == UntrustedArchiveError.__name__ for failure in broken)
    reason = UntrustedArchiveError("the archive's checksum is wrong, so any member may be damaged")
    for number, listed in enumerate(members):
        if last.get(listed.path, number) == number:
            if number == final and not broken:
                listed = _completing(listed)
            yield not_listed(listed.path, reason, archive.fingerprint) if untrusted else listed
    if not untrusted:
        yield from broken


def read_member(ref: ImageRef, admit: Admit) -> bytes:
    """Read a member of an archive at its place; one that `is_streamed` is read through `Streams` instead.

    Args:
      ref: the member.
      admit: asked before a large one is read or unpacked; what it raises passes through.

    Raises:
      DamagedArchiveError: the member does not match the archive's directory.
      ChangedFileError: the archive, a tar, has changed since it was listed.
      OSError: the archive cannot be read.
    """
    assert ref.place
    if ref.place.packing != IN_TAR:
        return read_in_zip(ref.place, ref.size, admit)
    if ref.size > SMALL_FILE:
        admit(read_in_tar(ref, HEAD), ref.size)
    return read_in_tar(ref, ref.place.length)


def _completing(listed: Listed) -> Listed:
    """Mark the last member of an archive that was read without an error."""
    if isinstance(listed, ImageRef) and listed.place:
        return listed._replace(place=listed.place._replace(completes=True))
    return listed


def _ends_of_archives(path: str) -> Iterator[re.Match[str]]:
    """Find the separators in a path that follow the name of an archive."""
    for match in re.finditer(SEPARATOR, path):
        # A path can consist of separators, so each look has to be short.
        if is_archive(path[max(0, match.start() - _LONGEST_ENDING) : match.start()]):
            yield match
