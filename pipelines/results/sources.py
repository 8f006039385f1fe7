"""Say what holds the pixels of an image: a file, a member of an archive, or a scene."""

from __future__ import annotations

import os
from typing import NamedTuple

from pipelines import archives, storage
from pipelines.scenes.grid import split_window


class Source(NamedTuple):
    """A file, or a member of an archive, that holds the pixels of an image.

    Attributes:
      path: of the file, or of the archive.
      member: its name in the archive; None for a file.
    """

    path: str
    member: str | None = None

    def __str__(self) -> str:
        return self.path if self.member is None else f"{self.path}{archives.SEPARATOR}{self.member}"


def find_source(path: str) -> Source:
    """Return what holds the pixels of an image: for a window, its scene."""
    window = split_window(path)
    path = window[0] if window else path
    plain = _unmarked(path)
    if plain != path:
        # Marked since it reads like the path of a member.
        return Source(plain)
    return Source(*archives.split_member(path))


def is_file(path: str) -> bool:
    """Return whether an image is a file of its own: neither a window of a scene nor a member of an archive."""
    return split_window(path) is None and find_source(path).member is None


def _unmarked(path: str) -> str:
    return storage.unmarked(path) if storage.is_remote(path) else os.path.normpath(path) if "/./" in path else path
