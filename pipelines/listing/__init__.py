"""Expand the inputs a user names (folders, patterns, files, lists of paths) into images, each once."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

from pipelines import archives, storage
from pipelines.archives.packed import SeenPaths
from pipelines.images.formats import ENDINGS
from pipelines.listing.buckets import expand_in_bucket
from pipelines.listing.folders import expand_here
from pipelines.listing.lists import read_list
from pipelines.listing.lookup import InputError
from pipelines.listing.names import compile_pattern, is_image, keep_commonest, spread_braces
from pipelines.listing.side_by_side import side_by_side
from pipelines.records import ImageRef, Listed

__all__ = ["InputError", "anchor", "expand", "list_images"]


def list_images(
    inputs: Sequence[str], input_list: str | None = None, passed_over: Counter[str] | None = None
) -> Iterator[Listed]:
    """List the images that inputs and a list name, each path once, in a stable order.

    Args:
      inputs: folders (searched recursively), patterns with `*`, `?`, `[...]`, `**` and `{a,b}`, files, archives, and
        members of archives. A name that exists is taken literally.
      input_list: a `.txt` (one path per line), `.csv` or `.parquet` file (a column `path`). Relative paths in it start
        at the list's folder.
      passed_over: receives the number of files in folders that are not named like images, by file name ending.

    Yields:
      An `ImageRef` for each file, or a `Failure` for a name that cannot be one.

    Raises:
      InputError: an input matches nothing, or the list cannot be read.
      InterruptedRunError: the run was asked to stop.
    """
    # In a thread, so that a signal is met even while a server keeps everything waiting.
    yield from side_by_side([_list_each_once(inputs, input_list, passed_over)])


def anchor(pattern: str) -> str:
    """Make an input absolute, so that it means the same in a process with a different working directory."""
    if storage.is_remote(pattern):
        return pattern
    # Special characters in the folders above are not part of the pattern.
    return os.path.join(glob.escape(os.getcwd()), os.path.expanduser(pattern))


def expand(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List the images that one input names.

    Raises:
      InputError: the input matches nothing, or a bucket cannot be listed.
    """
    found = False
    try:
        for listed in _expand(pattern, passed_over):
            found = True
            yield listed
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error
    except OSError as error:
        raise InputError(f"cannot list {pattern}: {error.strerror or error}") from error
    if not found:
        raise InputError(f"no images in {pattern} (looked for files ending in {', '.join(ENDINGS)})")


def _list_each_once(
    inputs: Sequence[str], input_list: str | None, passed_over: Counter[str] | None
) -> Iterator[Listed]:
    seen = SeenPaths()
    patterns = [pattern for written in inputs for pattern in _spread(written)]
    # Each thread has its own counter: a shared one would not be thread-safe.
    counts = [Counter[str]() for _ in patterns]
    named = side_by_side([expand(pattern, count) for pattern, count in zip(patterns, counts, strict=True)])
    for listed in chain(named, read_list(input_list) if input_list else ()):
        if seen.add(listed.path):
            yield listed
    if passed_over is not None:
        for count in counts:
            passed_over.update(count)
            keep_commonest(passed_over)


def _spread(written: str) -> list[str]:
    """Expand the braces of an input, unless a file of that literal name exists."""
    try:
        patterns = spread_braces(written)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{written}: {error}") from error
    if patterns == [written]:
        return patterns
    try:
        return [written] if _exists(written) else patterns
    except (OSError, storage.UnsupportedStorageError):
        return [written]


def _exists(name: str) -> bool:
    """Return whether there is a file of this literal name."""
    if storage.is_remote(name):
        return storage.exists(storage.normalize(name))
    return os.path.lexists(os.path.expanduser(name))


def _expand(pattern: str, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List what one input names, including members of archives."""
    outer, inner = archives.split_member(pattern)
    # Who may not look up a name may still read the archive.
    with suppress(OSError):
        if inner and _exists(pattern):
            outer, inner = pattern, None
    remote = storage.is_remote(storage.normalize(outer))
    if remote:
        outer = storage.unmarked(outer)
    for listed in (expand_in_bucket if remote else expand_here)(outer, passed_over):
        if isinstance(listed, ImageRef) and archives.is_archive(listed.path):
            yield from _members(listed, inner, passed_over)
        else:
            yield listed


def _members(archive: ImageRef, pattern: str | None, passed_over: Counter[str] | None) -> Iterator[Listed]:
    """List the members of an archive that match a pattern; without one, those named like images."""
    if pattern is None:
        return archives.list_members(archive, lambda name: is_image(name, passed_over))
    matches = compile_pattern(pattern)
    return archives.list_members(archive, lambda name: name == pattern or matches(name))
