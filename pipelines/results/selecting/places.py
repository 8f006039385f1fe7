"""Name the copies of images: below the deepest folder that holds all images, and never outside of the target folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines import archives, storage
from pipelines.records import digest_path
from pipelines.scenes.grid import split_window
from pipelines.scenes.naming import split_files

PARTIAL = ".scenetags-partial"
"""Folder in the target folder, of what is not complete yet."""

_LONGEST_PART, _LONGEST = 255, 1000
"""Bytes that file systems and buckets allow for a name and a path, with room for the target folder."""
_KEPT = 40
"""Characters of a name that is too long, each of up to four bytes."""


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


def common_folder(first: str, last: str) -> tuple[str, ...]:
    """Return the parts of the deepest folder that holds all images.

    Args:
      first: in alphabetical order of all paths.
      last: likewise.
    """
    # All other paths lie between these two, and so begin with the same characters; a name ends behind them.
    beginning = os.path.commonprefix((first, last))  # noqa: RUF071 - characters are meant
    folder = _parts(find_source(f"{beginning}_"))[:-1]
    for scene in map(find_source, (first, last)):
        if len(files := split_files(scene.path)) > 1:
            folders = [folder, *(_parts(Source(file))[:-1] for file in files)]
            folder = tuple(os.path.commonprefix(folders))  # noqa: RUF071 - parts are meant
    return folder


def name_copies(sources: Iterable[Source], root: Sequence[str]) -> dict[str, Source]:
    """Name the copy of each source, by its path below a folder.

    A part that would lead elsewhere (`..`), or is too long, gets a name that is derived from it; and so does a source
    whose copy would take the name of another one.

    Args:
      sources: each once.
      root: parts of the folder.

    Returns:
      The sources, by the names of their copies.
    """
    named: dict[str, Source] = {}
    for source in sources:
        whole = _parts(source)
        # Of a scene of several files, some may be elsewhere.
        inside = whole[: len(root)] == tuple(root) and len(whole) > len(root)
        parts = [_safe(part) for part in (whole[len(root) :] if inside else whole)]
        name = "/".join(parts)
        if len(name.encode()) > _LONGEST or name in named:
            name = f"{_digest(str(source))}/{parts[-1]}"
        named[name] = source
    return named


def _parts(source: Source) -> tuple[str, ...]:
    """Split a path into folders and a name; an archive is a folder of its members."""
    scheme, _, place = source.path.rpartition("://") if storage.is_remote(source.path) else ("", "", source.path)
    folders = (scheme, *place.split("/")) if scheme else tuple(place.removeprefix("/").split("/"))
    return folders if source.member is None else (*folders, *source.member.split("/"))


def _safe(part: str) -> str:
    """Return a part of a path that is a name: itself, if it is one."""
    if part not in ("", ".", "..", PARTIAL) and len(part.encode()) <= _LONGEST_PART and "\0" not in part:
        return part
    stem, ending = os.path.splitext(part)
    kept = stem[:_KEPT].replace("\0", "").strip(".") or "_"
    return f"{kept}~{_digest(part)}{ending if ending.isascii() and len(ending) < 10 else ''}"


def _digest(text: str) -> str:
    return digest_path(text).hex()[:12]


def _unmarked(path: str) -> str:
    return storage.unmarked(path) if storage.is_remote(path) else os.path.normpath(path) if "/./" in path else path
