"""Turn names in buckets (folders, patterns, objects) into images; `listing` does the same for files of this machine."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator

from wcmatch import glob

from pipelines import images, storage
from pipelines.records import Failure, ImageRef, Listed

_PATTERN = re.compile(r"[*?\[]")


def expand_in_bucket(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input in a bucket names, while its pages come in; sizes and fingerprints come with them.

    Raises:
      OSError: the bucket cannot be listed.
    """
    yield from _named(pattern) or _below(pattern, passed_over)


def refer_in_bucket(path: str) -> Listed:
    """Look an object up, without reading it."""
    try:
        return ImageRef(*storage.look_up(path))
    except OSError as error:
        return Failure(path, "list", type(error).__name__, error.strerror or str(error), "")


def count_passed_over(name: str, passed_over: Counter[str] | None) -> None:
    """Count a file that is not named like an image."""
    if passed_over is not None:
        passed_over[posixpath.splitext(name)[1].lower() or "no ending"] += 1


def _named(path: str) -> list[Listed]:
    """Find the one object of this very name, whatever signs are in it."""
    if path.endswith("/") or "/" not in path.partition("://")[2]:
        return []
    try:
        return [ImageRef(*storage.look_up(path))]
    except FileNotFoundError:
        return []


def _below(pattern: str, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List what a pattern matches, and what lies below the folders that it matches."""
    magic = _PATTERN.search(pattern)
    if magic is None:
        prefix = f"{pattern.rstrip('/')}/"
        for entry in storage.walk(prefix):
            yield from _in_folder(entry, entry.path[len(prefix) :], passed_over)
        return
    matches = _compile(pattern.rstrip("/"))
    for entry in storage.walk(pattern[: magic.start()]):
        if matches(entry.path) and not pattern.endswith("/"):
            yield ImageRef(*entry)
            continue
        folder = entry.path
        while "/" in folder.partition("://")[2]:
            folder = posixpath.dirname(folder)
            if matches(folder):
                yield from _in_folder(entry, entry.path[len(folder) + 1 :], passed_over)
                break


def _in_folder(entry: storage.Entry, name: str, passed_over: Counter[str] | None) -> Iterator[ImageRef]:
    """Take an object that a folder holds for an image by its name; hidden ones and markers of folders are no files."""
    if any(part.startswith(".") for part in name.split("/")) or name.endswith("/") or not name:
        return
    if name.lower().endswith(images.ENDINGS):
        yield ImageRef(*entry)
    else:
        count_passed_over(name, passed_over)


def _compile(pattern: str) -> Callable[[str], re.Match[str] | None]:
    [included], _ = glob.translate(pattern, flags=glob.GLOBSTAR | glob.FORCEUNIX)
    return re.compile(included).match
