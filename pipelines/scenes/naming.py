"""How scenes of several files are named: after all of them, as `folder/red.tif+green.tif+blue.tif`; and masks."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

ENDINGS = (".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
"""Lowercase name endings of files that may be scenes."""

_SEPARATOR = "+"
_BETWEEN = re.compile(rf"(?<=\.)({'|'.join(ending[1:] for ending in ENDINGS)})\{_SEPARATOR}", re.IGNORECASE)
_ROOT = re.compile(r"/|[a-z][a-z0-9+.-]*://[^/]+/", re.ASCII | re.IGNORECASE)
"""Of this machine, or of a bucket."""
_BESIDE = ("./", "../")


def join_files(paths: Sequence[str]) -> str:
    """Name a scene after its files: the others as they are seen from the folder of the first one.

    So it has another name than any of them, which may be scenes as well; and this name is the same wherever the folder
    lies that holds them all. In another bucket, files have their whole paths.
    """
    return _SEPARATOR.join((paths[0], *(_seen_from(paths[0], path) for path in paths[1:])))


def mask_path(scene: str) -> str:
    """Name the file next to a scene in which GDAL writes which of its pixels hold data."""
    return f"{scene}.msk"


def split_files(name: str) -> tuple[str, ...]:
    """Return the files that a scene is named after: itself, if it is one file."""
    separators = [match.end() - 1 for match in _BETWEEN.finditer(name)]
    starts = (0, *(at + 1 for at in separators))
    first, *others = (name[start:end] for start, end in zip(starts, (*separators, None), strict=True))
    if any("/" in other and not other.startswith(_BESIDE) and not _ROOT.match(other) for other in others):
        return (name,)
    return (first, *(_follow(first, other) for other in others))


def _seen_from(first: str, path: str) -> str:
    (root, names), (other_root, others) = _split(first), _split(path)
    if names[:-1] == others[:-1] and root == other_root:
        return others[-1]
    # Objects of a bucket may be named like steps, which then would lead elsewhere.
    if root != other_root or not {"", ".", ".."}.isdisjoint(names + others):
        return path
    relative = posixpath.relpath("/".join(others), "/".join(names[:-1]) or ".")
    return relative if relative.startswith("../") else f"./{relative}"


def _follow(first: str, other: str) -> str:
    """Return the path of a file, as it is seen from the folder of the first one."""
    if _ROOT.match(other):
        return other
    path = first[: first.rfind("/") + 1] + other
    if not other.startswith(_BESIDE):
        return path
    root, names = _split(path)
    return root + posixpath.normpath("/".join(names))


def _split(path: str) -> tuple[str, list[str]]:
    match = _ROOT.match(path)
    root = match[0] if match else ""
    return root, path.removeprefix(root).split("/")
