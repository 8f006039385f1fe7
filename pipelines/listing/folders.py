"""Expand inputs on this machine: folders, patterns and files."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator

from pipelines import archives, storage
from pipelines.listing.lookup import InputError, refer
from pipelines.listing.names import is_image
from pipelines.records import Listed, UnlistedFolderError, not_listed


def expand_here(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input names.

    Raises:
      InputError: the input matches nothing.
    """
    root = storage.normalize(pattern)
    if os.path.lexists(root):
        names = [root]
    else:
        # Made absolute only after matching: special characters in the folders above are not part of the pattern.
        names = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        # Joined first: in a match, `~` is a character like any other.
        names = [storage.normalize(os.path.join(os.getcwd(), name)) for name in names]
    if not names:
        raise InputError(f"no file or folder matches {pattern}")
    for name in names:
        yield from _walk(name, passed_over) if os.path.isdir(name) else (refer(name),)


def _walk(
    folder: str, passed_over: Counter[str] | None, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Listed]:
    """List a folder recursively, following links but not cycles; hidden files and folders are skipped."""
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield not_listed(archives.name_file(folder), UnlistedFolderError(error.strerror or str(error)))
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            is_folder = entry.is_dir()
        except OSError as error:
            yield not_listed(archives.name_file(entry.path), error)
            continue
        if is_folder:
            yield from _walk(entry.path, passed_over, above | {here})
        elif is_image(entry.name, passed_over):
            yield refer(entry.path)
