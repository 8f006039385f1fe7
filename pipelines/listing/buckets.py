"""Expand inputs in buckets: folders, patterns and objects."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator

from pipelines import storage
from pipelines.images.hidden import is_of_system
from pipelines.listing.lookup import refer_entry
from pipelines.listing.names import (
    BUNDLE_FILES,
    BUNDLE_PICTURES,
    CURVES,
    MAGIC,
    compile_pattern,
    count,
    is_chosen,
    is_image,
)
from pipelines.records import Failure, Listed, UnlistedFolderError, not_listed
from pipelines.storage import Entry


def expand_in_bucket(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input in a bucket names, lazily; the listing includes sizes and fingerprints.

    An object and a folder can have the same name: tools write empty objects to mark folders. Then both are listed.

    Raises:
      OSError: the bucket cannot be listed at all.
    """
    named = _named(pattern)
    yield from named
    yield from _below(pattern, passed_over, literal=bool(named))


def _named(path: str) -> list[Listed]:
    """Find the object with this literal name."""
    if path.endswith("/") or "/" not in path.partition("://")[2]:
        return []
    try:
        return [refer_entry(storage.look_up(path))]
    except FileNotFoundError:
        return []


def _below(pattern: str, passed_over: Counter[str] | None, *, literal: bool) -> Iterator[Listed]:
    """List the images below a folder with this literal name; if there is none, match the name as a pattern.

    A pattern yields the objects it matches, and the images below the folders it matches.

    Args:
      pattern: or name of a folder.
      passed_over: receives the number of files that are not images by name.
      literal: whether the name is known to exist, so that it is no pattern.
    """
    prefix, magic, exists = f"{pattern.rstrip('/')}/", MAGIC.search(pattern), literal
    for entry in _walk(prefix, passed_over):
        exists = True
        if isinstance(entry, Failure):
            yield entry
        elif is_image(entry.path[len(prefix) :], passed_over):
            yield refer_entry(entry)
    if exists or magic is None:
        return
    matches, named = compile_pattern(pattern.rstrip("/")), frozenset(pattern.split("/"))
    for entry in _walk(pattern[: magic.start()], passed_over):
        if isinstance(entry, Failure):
            yield entry
            continue
        if entry.path.endswith("/"):
            # A folder marker, not a file in it.
            continue
        found = _find_match(pattern, matches, entry.path)
        if found is None:
            continue
        of_system = next((part for part in found.split("/") if is_of_system(part) and part not in named), None)
        if of_system is not None:
            count(passed_over, f"{of_system}/")
            continue
        name = entry.path[len(found) + 1 :]
        if is_image(name, passed_over) if name else is_chosen(posixpath.basename(found), passed_over):
            yield refer_entry(entry)


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


def _walk(prefix: str, passed_over: Counter[str] | None) -> Iterator[Entry | Failure]:
    """List the objects whose paths start with a prefix, except the pictures in bundles.

    A listing that breaks off ends in a failure: what was listed is worth tagging, and nobody knows what is missing.
    """
    place, seen = "", 0
    entries = storage.walk(prefix)
    last = ""
    while True:
        try:
            entry = next(entries, None)
        except OSError as error:
            if not last:
                raise
            reason = f"{error.strerror or error}; the last object that was listed is {last}"
            yield not_listed(prefix, UnlistedFolderError(reason))
            return
        if entry is None:
            return
        last = entry.path
        folder, _, name = entry.path.rpartition("/")
        if name in BUNDLE_FILES:
            seen = seen + 1 if folder == place else 1
            place = folder
        elif name in BUNDLE_PICTURES and folder == place and seen == len(BUNDLE_FILES):
            count(passed_over, CURVES)
            continue
        yield entry
