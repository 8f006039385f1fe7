"""Expand inputs in buckets: folders, patterns and objects."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator

from pipelines import storage
from pipelines.listing.lookup import refer_entry
from pipelines.listing.names import MAGIC, compile_pattern, is_image
from pipelines.records import Listed


def expand_in_bucket(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input in a bucket names, lazily; the listing includes sizes and fingerprints.

    Raises:
      OSError: the bucket cannot be listed.
    """
    yield from _named(pattern) or _below(pattern, passed_over)


def _named(path: str) -> list[Listed]:
    """Find the object with this literal name."""
    if path.endswith("/") or "/" not in path.partition("://")[2]:
        return []
    try:
        return [refer_entry(storage.look_up(path))]
    except FileNotFoundError:
        return []


def _below(pattern: str, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List the images below a folder with this literal name; if there is none, match the name as a pattern.

    A pattern yields the objects it matches, and the images below the folders it matches.
    """
    prefix, magic, exists = f"{pattern.rstrip('/')}/", MAGIC.search(pattern), False
    for entry in storage.walk(prefix):
        exists = True
        if is_image(entry.path[len(prefix) :], passed_over):
            yield refer_entry(entry)
    if exists or magic is None:
        return
    matches = compile_pattern(pattern.rstrip("/"))
    for entry in storage.walk(pattern[: magic.start()]):
        if entry.path.endswith("/"):
            # A folder marker, not a file in it.
            continue
        if matches(entry.path) and not pattern.endswith("/"):
            yield refer_entry(entry)
            continue
        folder = entry.path
        while "/" in folder.partition("://")[2]:
            folder = posixpath.dirname(folder)
            # With its slash: a `**` at the end of a pattern may match no folder.
            if matches(f"{folder}/"):
                if is_image(entry.path[len(folder) + 1 :], passed_over):
                    yield refer_entry(entry)
                break
