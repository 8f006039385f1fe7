"""Expand inputs in buckets: folders, patterns and objects."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator

from pipelines import storage
from pipelines.listing.names import compile_pattern, is_image
from pipelines.records import ImageRef, Listed

_PATTERN = re.compile(r"[*?\[]")


def expand_in_bucket(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input in a bucket names, while its pages come in; sizes and fingerprints come with them.

    Raises:
      OSError: the bucket cannot be listed.
    """
    yield from _named(pattern) or _below(pattern, passed_over)


def _named(path: str) -> list[Listed]:
    """Find the one object of this very name, whatever signs are in it."""
    if path.endswith("/") or "/" not in path.partition("://")[2]:
        return []
    try:
        return [ImageRef(*storage.look_up(path))]
    except FileNotFoundError:
        return []


def _below(pattern: str, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List what lies below a folder of this very name; where there is none, what a pattern matches.

    Of the folders that it matches, what lies below.
    """
    prefix, magic, exists = f"{pattern.rstrip('/')}/", _PATTERN.search(pattern), False
    for entry in storage.walk(prefix):
        exists = True
        if is_image(entry.path[len(prefix) :], passed_over):
            yield ImageRef(*entry)
    if exists or magic is None:
        return
    matches = compile_pattern(pattern.rstrip("/"))
    for entry in storage.walk(pattern[: magic.start()]):
        if entry.path.endswith("/"):
            # It marks a folder, and is none of the files in it.
            continue
        if matches(entry.path) and not pattern.endswith("/"):
            yield ImageRef(*entry)
            continue
        folder = entry.path
        while "/" in folder.partition("://")[2]:
            folder = posixpath.dirname(folder)
            if matches(folder):
                if is_image(entry.path[len(folder) + 1 :], passed_over):
                    yield ImageRef(*entry)
                break
