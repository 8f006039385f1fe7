"""Name the copies of images: below the deepest folder that holds all images, and never outside of the target folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from pipelines import storage
from pipelines.results.sources import Source, find_source

PARTIAL = ".scenetags-partial"
"""Folder in the target folder, of what is not complete yet."""

_LONGEST_PART, _LONGEST = 255, 1000
"""Bytes that file systems and buckets allow for a name and a path, with room for the target folder."""
_KEPT = 40
"""Characters of a name that is too long, each of up to four bytes."""


def common_folder(first: str, last: str) -> tuple[str, ...]:
    """Return the parts of the deepest folder that holds all images.

    Args:
      first: in alphabetical order of all paths.
      last: likewise.
    """
    # All other paths lie between these two, and so begin with the same characters; a name ends behind them.
    beginning = os.path.commonprefix((first, last))  # noqa: RUF071 - characters are meant
    return _parts(find_source(f"{beginning}_"))[:-1]


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
    return storage.digest_path(text).hex()[:12]
