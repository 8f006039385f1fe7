"""How scenes of several files are named: after all of them, as `folder/red.tif+green.tif+blue.tif`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

ENDINGS = (".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
"""Lowercase name endings of files that may be scenes."""

_SEPARATOR = "+"
_BELOW = "./"
_BETWEEN = re.compile(rf"(?<=\.)({'|'.join(ending[1:] for ending in ENDINGS)})\{_SEPARATOR}", re.IGNORECASE)


def join_files(paths: Sequence[str]) -> str:
    """Name a scene after its files: by their whole paths, unless they lie in one folder.

    So it has another name than any of them, which may be scenes as well.
    """
    folders = {posixpath.dirname(path) for path in paths}
    others = map(posixpath.basename, paths[1:]) if len(folders) == 1 else paths[1:]
    return _SEPARATOR.join((paths[0], *others))


def split_files(name: str) -> tuple[str, ...]:
    """Return the files that a scene is named after: itself, if it is one file."""
    first, *others = _pieces(name)
    if not any("/" in other for other in others):
        return (first, *(posixpath.join(posixpath.dirname(first), other) for other in others))
    return (first, *others) if all("/" in other for other in others) else (name,)


def relative_name(name: str, folder: str) -> str:
    """Return the name of a file or a scene in a folder, without that of the folder.

    Of a scene whose files lie in several folders, each that is in this one begins with `./`, but for the first.
    """
    first, *others = _pieces(name) if _SEPARATOR in name else (name,)
    there = f"{folder}/"
    shorter = (f"{_BELOW}{other.removeprefix(there)}" if other.startswith(there) else other for other in others)
    return _SEPARATOR.join((first.removeprefix(there), *shorter))


def whole_name(name: str, folder: str) -> str:
    """Return the name of which `relative_name` is the rest, in this folder or another one."""
    first, *others = _pieces(name)
    there = f"{folder.rstrip('/')}/"
    longer = (f"{there}{other.removeprefix(_BELOW)}" if other.startswith(_BELOW) else other for other in others)
    return _SEPARATOR.join((f"{there}{first}", *longer))


def _pieces(name: str) -> list[str]:
    separators = [match.end() - 1 for match in _BETWEEN.finditer(name)]
    starts = (0, *(at + 1 for at in separators))
    return [name[start:end] for start, end in zip(starts, (*separators, None), strict=True)]
