"""Turn what a user names (folders, patterns, files, lists of paths) into images, each of them once."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from pipelines import archives, storage
from pipelines.images.formats import ENDINGS
from pipelines.listing.buckets import expand_in_bucket
from pipelines.listing.folders import expand_here
from pipelines.listing.lists import read_list
from pipelines.listing.lookup import InputError
from pipelines.listing.names import compile_pattern, is_image, spread_braces
from pipelines.listing.side_by_side import side_by_side
from pipelines.records import ImageRef, Listed

__all__ = ["InputError", "anchor", "expand", "list_images"]


def list_images(
    inputs: Sequence[str], input_list: str | None = None, passed_over: Counter[str] | None = None
) -> Iterator[Listed]:
    """List the images that inputs and a list name, each path once, in a stable order.

    Args:
      inputs: folders (searched through to the bottom), patterns with `*`, `?`, `[...]`, `**` and `{a,b}`, files,
        archives, and members of archives. A name that exists is taken as it is, whatever signs are in it.
      input_list: a `.txt` (a path a line), `.csv` or `.parquet` file (a column `path`). Relative paths in it start at
        the list's own folder.
      passed_over: is given the count of files that a folder holds and that are not named like images, by the ending of
        their names.

    Yields:
      An `ImageRef` for each file, or a `Failure` for what is named and cannot be one.

    Raises:
      InputError: an input matches nothing, or the list cannot be read.
    """
    seen = set()
    patterns = [pattern for written in inputs for pattern in _spread(written)]
    # Each thread counts for itself: adding to a shared counter is not safe.
    counts = [Counter[str]() for _ in patterns]
    named = side_by_side([expand(pattern, count) for pattern, count in zip(patterns, counts, strict=True)])
    for listed in chain(named, read_list(input_list) if input_list else ()):
        if listed.path not in seen:
            seen.add(listed.path)
            yield listed
    if passed_over is not None:
        passed_over.update(sum(counts, Counter()))


def anchor(pattern: str) -> str:
    """Write an input so that it names the same in a process that works in another folder."""
    if storage.is_remote(pattern):
        return pattern
    # The signs of a pattern are not to be read in the folders above it.
    return os.path.join(glob.escape(os.getcwd()), os.path.expanduser(pattern))


def expand(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input names.

    Raises:
      InputError: it names nothing, or a bucket cannot be listed.
    """
    found = False
    try:
        for listed in _expand(pattern, passed_over):
            found = True
            yield listed
    except storage.UnsupportedStorageError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"cannot list {pattern}: {error.strerror or error}") from error
    if not found:
        raise InputError(f"no images in {pattern} (looked for names ending in {', '.join(ENDINGS)})")


def _spread(written: str) -> list[str]:
    """Write out the braces of an input, unless it exists by that very name."""
    try:
        patterns = spread_braces(written)
    except ValueError as error:
        raise InputError(f"{written}: {error}") from error
    if patterns == [written]:
        return patterns
    try:
        path = storage.normalize(written)
        exists = storage.exists(path) if storage.is_remote(path) else os.path.lexists(path)
    except (OSError, storage.UnsupportedStorageError):
        return [written]
    return [written] if exists else patterns


def _expand(pattern: str, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List what one input names, members of archives among it."""
    outer, inner = archives.split_member(pattern)
    if inner and os.path.lexists(pattern):
        outer, inner = pattern, None
    remote = storage.is_remote(storage.normalize(outer))
    for listed in (expand_in_bucket if remote else expand_here)(outer, passed_over):
        if isinstance(listed, ImageRef) and archives.is_archive(listed.path):
            yield from _members(listed, inner, passed_over)
        else:
            yield listed


def _members(archive: ImageRef, pattern: str | None, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List those members of an archive that a pattern matches; without one, those that are named like images."""
    matches = compile_pattern(pattern) if pattern else None
    for name, listed in archives.list_members(archive):
        if name is None or name == pattern or (matches(name) if matches else is_image(name, passed_over)):
            yield listed
