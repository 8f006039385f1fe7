"""List the members of archives that inputs and lists name."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pipelines import archives, storage
from pipelines.listing.names import compile_pattern, is_chosen, is_image
from pipelines.records import Failure, ImageRef, Listed, not_listed


class Archive(NamedTuple):
    """An archive whose members are to be listed.

    Attributes:
      ref: the file.
      members: pattern of their names; None for those that are named like images.
      in_list: whether a list names it, which may name none without images: that is a failure.
    """

    ref: ImageRef
    members: str | None = None
    in_list: bool = False


def open_archive(archive: Archive, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List the members of an archive, each once.

    Raises:
      OSError: an archive that no list names cannot be read.
    """
    found = _list_named(archive.ref, passed_over) if archive.in_list else _list_members(archive, passed_over)
    kept = archive.ref.kept
    return (member._replace(kept=kept) for member in found) if kept else found


def _list_members(archive: Archive, passed_over: Counter[str] | None) -> Iterator[Listed]:
    if (pattern := archive.members) is None:
        return archives.list_members(archive.ref, lambda name: is_image(name, passed_over))
    matches = compile_pattern(pattern)

    def is_wanted(name: str) -> bool:
        return name == pattern or (bool(matches(name)) and is_chosen(posixpath.basename(name), passed_over))

    return archives.list_members(archive.ref, is_wanted)


def _list_named(archive: ImageRef, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List the images in an archive that a list names; if there are none, or it cannot be read, that is a failure."""
    empty = True
    try:
        for listed in _list_members(Archive(archive), passed_over):
            empty = False
            yield listed
    except OSError as error:
        # As of a folder: nobody knows how many images are in it.
        yield not_listed(archive.path, storage.UnlistedFolderError(error.strerror or str(error)), archive.fingerprint)
        return
    if empty:
        yield Failure(archive.path, "list", FileNotFoundError.__name__, "no images in the archive", archive.fingerprint)
