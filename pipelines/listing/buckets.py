"""Expand inputs in buckets: folders, patterns and objects."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipelines import storage
from pipelines.images.hidden import BUNDLE_FILES, BUNDLE_PICTURES, is_of_system
from pipelines.listing.lookup import refer_entry
from pipelines.listing.names import (
    CURVES,
    MAGIC,
    compile_pattern,
    count,
    is_chosen,
    is_image,
)
from pipelines.records import Failure, Listed, not_listed
from pipelines.storage import Entry


class Area(NamedTuple):
    """What an input names in a bucket, or a range of it.

    Attributes:
      prefix: of all paths in it: of a folder, or what precedes the first special character of a pattern.
      pattern: that chooses from it; empty for a folder, whose images are listed.
      after: path behind which the range begins; empty if it begins with the area.
      until: path with which the range ends; empty if it ends with the area.
    """

    prefix: str
    pattern: str = ""
    after: str = ""
    until: str = ""


def expand_in_bucket(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input in a bucket names, lazily; the listing includes sizes and fingerprints.

    An object and a folder can have the same name: tools write empty objects to mark folders. Then both are listed.

    Raises:
      OSError: the bucket cannot be listed at all.
    """
    named = find_named(pattern)
    yield from named
    yield from list_area(find_area(pattern, literal=bool(named)), passed_over)


def find_named(path: str) -> list[Listed]:
    """Find the object with this literal name."""
    if path.endswith("/") or "/" not in path.partition("://")[2]:
        return []
    try:
        return [refer_entry(storage.look_up(path))]
    except FileNotFoundError:
        return []


def find_area(pattern: str, *, literal: bool) -> Area:
    """Return the folder with this literal name; if there is none, what the name means as a pattern.

    Args:
      pattern: or name of a folder.
      literal: whether the name is known to exist, so that it is no pattern.

    Raises:
      OSError: the bucket cannot be listed.
    """
    prefix, magic = f"{pattern.rstrip('/')}/", MAGIC.search(pattern)
    if literal or magic is None:
        return Area(prefix)
    paths, _ = storage.peek(prefix, "", 1)
    return Area(prefix) if paths else Area(pattern[: magic.start()], pattern)


def list_area(area: Area, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List the images below a folder; or the objects that a pattern matches, and the images below folders it matches.

    A listing that breaks off ends in a failure: what was listed is worth tagging, and nobody knows what is missing.

    Args:
      area: to list.
      passed_over: receives the number of files that are not images by name.

    Raises:
      OSError: the first page of a whole area cannot be listed.
    """
    is_listed = _chosen_by(area.pattern) if area.pattern else _below(area.prefix)
    for entry in _without_curves(_walk(area), area, is_listed, passed_over):
        if isinstance(entry, Failure):
            yield entry
        elif is_listed(entry.path, passed_over):
            yield refer_entry(entry)


_Choice = Callable[[str, Counter[str] | None], bool]


def _below(prefix: str) -> _Choice:
    begin = len(prefix)
    return lambda path, passed_over: is_image(path[begin:], passed_over)


def _chosen_by(pattern: str) -> _Choice:
    matches, named = compile_pattern(pattern.rstrip("/")), frozenset(pattern.split("/"))

    def is_listed(path: str, passed_over: Counter[str] | None) -> bool:
        if path.endswith("/"):
            # A folder marker, not a file in it.
            return False
        found = _find_match(pattern, matches, path)
        if found is None:
            return False
        of_system = next((part for part in found.split("/") if is_of_system(part) and part not in named), None)
        if of_system is not None:
            count(passed_over, f"{of_system}/")
            return False
        name = path[len(found) + 1 :]
        return is_image(name, passed_over) if name else is_chosen(posixpath.basename(found), passed_over)

    return is_listed


def _find_match(pattern: str, matches: Callable[[str], object], path: str) -> str | None:
    """Return what a pattern matches of a path: all of it, or the deepest of its folders."""
    if matches(path) and not pattern.endswith("/"):
        return path
    folder = path
    while "/" in folder.partition("://")[2]:
        folder = posixpath.dirname(folder)
        # With its slash: a `**` at the end of a pattern may match no folder.
        if matches(f"{folder}/"):
            return folder
    return None


def _walk(area: Area) -> Iterator[Entry | Failure]:
    entries, last = storage.walk(area.prefix, area.after, area.until), ""
    while True:
        try:
            entry = next(entries, None)
        except OSError as error:
            if not last and not area.after and not area.until:
                raise
            last = last or area.after
            seen = f"the last object that was listed is {last}" if last else "no object was listed"
            yield not_listed(area.prefix, storage.UnlistedFolderError(f"{error.strerror or error}; {seen}"))
            return
        if entry is None:
            return
        last = entry.path
        yield entry


def _without_curves(
    entries: Iterator[Entry | Failure], area: Area, is_listed: _Choice, passed_over: Counter[str] | None
) -> Iterator[Entry | Failure]:
    """Leave out the pictures in bundles that would be listed, which are recognized by the files before them."""
    # Of the folders above the last one of these files: what is in them may still come.
    found = dict[str, set[str]]()
    for entry in entries:
        if isinstance(entry, Failure):
            yield entry
            continue
        folder, _, name = entry.path.rpartition("/")
        if name in BUNDLE_FILES:
            found = {above: names for above, names in found.items() if f"{folder}/".startswith(f"{above}/")}
            found.setdefault(folder, set()).add(name)
        elif name in BUNDLE_PICTURES and is_listed(entry.path, None):
            names = found.get(folder, ())
            if all(file in names or _precedes(area, f"{folder}/{file}") for file in BUNDLE_FILES):
                count(passed_over, CURVES)
                continue
        yield entry


def _precedes(area: Area, path: str) -> bool:
    """Return whether there is an object in an area that comes before a range of it."""
    return path.startswith(area.prefix) and path <= area.after and storage.exists(path)
