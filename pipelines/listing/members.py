"""List the members of archives that inputs and lists name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipelines import archives
from pipelines.listing.names import compile_pattern, is_image
from pipelines.records import Failure, ImageRef, Listed, UnlistedFolderError, not_listed


def list_members(archive: ImageRef, pattern: str | None, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List the members of an archive that match a pattern; without one, those named like images.

    Raises:
      OSError: the archive cannot be read.
    """
    if pattern is None:
        return archives.list_members(archive, lambda name: is_image(name, passed_over))
    matches = compile_pattern(pattern)
    return archives.list_members(archive, lambda name: name == pattern or matches(name))


def list_named(archive: ImageRef, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List the images in an archive that a list names; if there are none, or it cannot be read, that is a failure."""
    empty = True
    try:
        for listed in list_members(archive, None, passed_over):
            empty = False
            yield listed
    except OSError as error:
        # As of a folder: nobody knows how many images are in it.
        yield not_listed(archive.path, UnlistedFolderError(error.strerror or str(error)), archive.fingerprint)
        return
    if empty:
        yield Failure(archive.path, "list", FileNotFoundError.__name__, "no images in the archive", archive.fingerprint)
