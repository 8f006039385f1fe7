"""Expand the inputs a user names (folders, patterns, files, lists of paths) into images, each once."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

from pipelines import storage
from pipelines.archives.packed import SeenPaths
from pipelines.listing.emptiness import Emptiness
from pipelines.listing.inputs import exists, expand, plain, spread, spread_one
from pipelines.listing.lists.contents import read_list
from pipelines.listing.lists.files import PATH_COLUMN, STANDARD_INPUT
from pipelines.listing.lists.kept import find_kept
from pipelines.listing.lookup import EmptyInputError, InputError, check_encoding
from pipelines.listing.names import keep_commonest, spread_braces
from pipelines.listing.overlaps import can_repeat
from pipelines.listing.side_by_side import side_by_side
from pipelines.records import KeptColumn, Listed
from pipelines.scenes.documents import NO_DOCUMENTS, Documents

__all__ = [
    "PATH_COLUMN",
    "STANDARD_INPUT",
    "EmptyInputError",
    "InputError",
    "anchor",
    "find_kept",
    "list_images",
]


EMPTY_INPUTS = "inputs without images"
"""Under which they are counted among what is passed over: what workers tell is only in their logs."""


def list_images(
    patterns: Sequence[str],
    input_list: str | None = None,
    passed_over: Counter[str] | None = None,
    *,
    path_column: str = PATH_COLUMN,
    kept: Sequence[KeptColumn] = (),
    allow_empty: bool | None = None,
    documents: Documents = NO_DOCUMENTS,
    tell: Callable[[str], object] = lambda _: None,
) -> Iterator[Listed]:
    """List the images that patterns and a list name, each path once, in a stable order.

    Args:
      patterns: folders (searched recursively), patterns with `*`, `?`, `[...]`, `**` and `{a,b}`, files, archives, and
        members of archives. A name that exists is taken literally.
      input_list: a list of paths; see `lists.files`. Relative paths in it start at the list's folder.
      passed_over: receives the number of files that are not images by name, hidden or of the system; see `is_image`.
      path_column: of the list, that holds the paths.
      kept: columns of the list whose values are kept; see `find_kept`.
      allow_empty: whether there may be no image at all; None if the user has no flag to say so.
      documents: that may name files.
      tell: called, from any thread, with what is remarkable: an input without images, blank lines in the list.

    Yields:
      An `ImageRef` for each file, or a `Failure` for a name that cannot be one.

    Raises:
      InputError: an input does not exist, nothing has images, or the list cannot be read.
      InterruptedRunError: the run was asked to stop.
    """
    check_encoding()
    listed = read_list(input_list, path_column, passed_over, tell, kept) if input_list else None
    # In a thread, so that a signal is met even while a server keeps everything waiting.
    emptiness = Emptiness(allow_empty, tell)
    yield from side_by_side([_list_each_once(patterns, input_list, listed, passed_over, emptiness, documents)])


def anchor(pattern: str) -> str:
    """Make an input absolute, so that it means the same in a process with a different working directory.

    Raises:
      InputError: it is the URL of a file of another machine, or a pattern in a folder with braces in its name.
    """
    pattern = plain(pattern)
    if storage.is_remote(pattern):
        return pattern
    with suppress(OSError, storage.UnsupportedStorageError):
        if exists(pattern):
            # Behind an escaped folder it would be a pattern.
            return storage.normalize(pattern)
    path, here = os.path.expanduser(pattern), os.getcwd()
    if not os.path.isabs(path) and spread_one(here) != spread_braces(here):
        raise InputError(f"{pattern} is relative to {here}, whose braces would be expanded", "cd to another folder")
    # Special characters in the folders above are not part of the pattern.
    return os.path.join(glob.escape(here), path)


def _list_each_once(
    inputs: Sequence[str],
    input_list: str | None,
    listed: Iterator[Listed] | None,
    passed_over: Counter[str] | None,
    emptiness: Emptiness,
    documents: Documents,
) -> Iterator[Listed]:
    patterns, found = spread(inputs), False
    # Of ten million paths it takes a gigabyte.
    seen = SeenPaths() if can_repeat(patterns, input_list, documents) else None
    # Each thread has its own counter: a shared one would not be thread-safe.
    counts = [Counter[str]() for _ in patterns]
    sources = [emptiness.tolerate(expand(*source, documents)) for source in zip(patterns, counts, strict=True)]
    # The list first: of an image that is named twice, the row with its columns counts.
    for item in chain(emptiness.tolerate(listed or iter(())), side_by_side(sources)):
        found = True
        if seen is None or seen.add(item.path):
            yield item
    empty = emptiness.judge(found)
    if passed_over is not None:
        for count in counts:
            passed_over.update(count)
            keep_commonest(passed_over)
        if empty:
            passed_over[EMPTY_INPUTS] += empty
