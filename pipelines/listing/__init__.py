"""Expand the inputs a user names (folders, patterns, files, lists of paths) into images, each once."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

from pipelines import archives, storage
from pipelines.archives.packed import SeenPaths
from pipelines.images.formats import ENDINGS
from pipelines.listing.buckets import expand_in_bucket
from pipelines.listing.folders import expand_here
from pipelines.listing.kept import find_kept
from pipelines.listing.list_files import PATH_COLUMN, STANDARD_INPUT, is_list
from pipelines.listing.lists import read_list
from pipelines.listing.lookup import EmptyInputError, InputError, check_encoding
from pipelines.listing.members import list_members
from pipelines.listing.names import MAGIC, hint_at_brackets, keep_commonest, spread_braces
from pipelines.listing.side_by_side import side_by_side
from pipelines.listing.stac import STAC_ENDINGS, list_assets, list_matching
from pipelines.listing.stacks import is_virtual
from pipelines.records import ImageRef, KeptColumn, Listed
from pipelines.scenes.documents import NO_DOCUMENTS, Documents

__all__ = [
    "PATH_COLUMN",
    "STANDARD_INPUT",
    "EmptyInputError",
    "InputError",
    "anchor",
    "expand",
    "find_kept",
    "list_images",
]


EMPTY_INPUTS = "inputs without images"
"""Under which they are counted among what is passed over: what workers tell is only in their logs."""


def list_images(
    inputs: Sequence[str],
    input_list: str | None = None,
    passed_over: Counter[str] | None = None,
    *,
    path_column: str = PATH_COLUMN,
    kept: Sequence[KeptColumn] = (),
    allow_empty: bool | None = None,
    documents: Documents = NO_DOCUMENTS,
    tell: Callable[[str], object] = lambda _: None,
) -> Iterator[Listed]:
    """List the images that inputs and a list name, each path once, in a stable order.

    Args:
      inputs: folders (searched recursively), patterns with `*`, `?`, `[...]`, `**` and `{a,b}`, files, archives, and
        members of archives. A name that exists is taken literally.
      input_list: a list of paths; see `list_files`. Relative paths in it start at the list's folder.
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
    yield from side_by_side([_list_each_once(inputs, listed, passed_over, _Emptiness(allow_empty, tell), documents)])


def anchor(pattern: str) -> str:
    """Make an input absolute, so that it means the same in a process with a different working directory.

    Raises:
      InputError: it is the URL of a file of another machine, or a pattern in a folder with braces in its name.
    """
    pattern = _plain(pattern)
    if storage.is_remote(pattern):
        return pattern
    with suppress(OSError, storage.UnsupportedStorageError):
        if _exists(pattern):
            # Behind an escaped folder it would be a pattern.
            return storage.normalize(pattern)
    path, here = os.path.expanduser(pattern), os.getcwd()
    if not os.path.isabs(path) and _spread(here) != spread_braces(here):
        raise InputError(f"{pattern} is relative to {here}, whose braces would be expanded", "cd to another folder")
    # Special characters in the folders above are not part of the pattern.
    return os.path.join(glob.escape(here), path)


def expand(
    pattern: str, passed_over: Counter[str] | None = None, documents: Documents = NO_DOCUMENTS
) -> Iterator[Listed]:
    """List the images that one input names, or that the STAC document names which it is.

    Raises:
      EmptyInputError: there are none.
      InputError: the input does not exist, or a bucket cannot be listed.
    """
    found = False
    try:
        for listed in _expand_documents(pattern, passed_over, documents):
            found = True
            yield listed
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error
    except OSError as error:
        raise InputError(f"cannot list {pattern}: {error.strerror or error}") from error
    if not found:
        outer, inner = archives.split_member(pattern)
        if inner:
            # A member that is named is missing, as a file is; a pattern may match none for once.
            kind = EmptyInputError if MAGIC.search(inner) else InputError
            raise kind(f"no member of {outer} matches {inner}", hint_at_brackets(inner))
        raise EmptyInputError(
            f"no images in {pattern} (looked for files ending in {', '.join(ENDINGS)})", hint_at_brackets(pattern)
        )


class _Emptiness:
    """What is done about inputs without images: it is an error if all are."""

    def __init__(self, allowed: bool | None, tell: Callable[[str], object]) -> None:
        self._allowed = allowed
        self._tell = tell
        self._empty: list[EmptyInputError] = []

    def tolerate(self, listed: Iterator[Listed]) -> Iterator[Listed]:
        """Pass on what an input names, and note that it names nothing."""
        try:
            yield from listed
        except EmptyInputError as error:
            self._empty.append(error)

    def judge(self, found: bool) -> int:
        """Tell which inputs are empty.

        Args:
          found: whether any other is not.

        Returns:
          Their number.

        Raises:
          EmptyInputError: none has images, and that is not allowed.
        """
        if self._empty and not found and not self._allowed:
            first = self._empty[0]
            others = f", nor in the {len(self._empty):,} inputs together" if len(self._empty) > 1 else ""
            remedy = "" if self._allowed is None else "if that is intended, add --allow_empty"
            raise EmptyInputError(f"{first.message}{others}", first.remedy or remedy)
        for error in self._empty:
            self._tell(error.message)
        return len(self._empty)


def _list_each_once(
    inputs: Sequence[str],
    listed: Iterator[Listed] | None,
    passed_over: Counter[str] | None,
    emptiness: _Emptiness,
    documents: Documents,
) -> Iterator[Listed]:
    seen, found = SeenPaths(), False
    patterns = [pattern for written in inputs for pattern in _spread(_plain(written))]
    # Each thread has its own counter: a shared one would not be thread-safe.
    counts = [Counter[str]() for _ in patterns]
    sources = [emptiness.tolerate(expand(*source, documents)) for source in zip(patterns, counts, strict=True)]
    for item in chain(side_by_side(sources), emptiness.tolerate(listed or iter(()))):
        found = True
        if seen.add(item.path):
            yield item
    empty = emptiness.judge(found)
    if passed_over is not None:
        for count in counts:
            passed_over.update(count)
            keep_commonest(passed_over)
        if empty:
            passed_over[EMPTY_INPUTS] += empty


def _plain(written: str) -> str:
    try:
        return storage.plain(written)
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error


def _spread(written: str) -> list[str]:
    """Expand the braces of an input, unless a file of that literal name exists."""
    try:
        patterns = spread_braces(written) or [written]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{written}: {error}") from error
    if "" in patterns:
        raise InputError(f"an input is empty{f': {written}' if written else ''}", "give it a path")
    if patterns == [written]:
        return patterns
    try:
        return [written] if _exists(written) else patterns
    except (OSError, storage.UnsupportedStorageError):
        return [written]


def _exists(name: str) -> bool:
    """Return whether there is a file or folder of this literal name."""
    if storage.is_remote(name):
        path = storage.normalize(name)
        return storage.exists(path) or any(storage.walk(f"{path}/"))
    return os.path.lexists(os.path.expanduser(name))


def _refuse_document(path: str, documents: Documents) -> None:
    """Say where a document belongs that is given as an image.

    Raises:
      InputError: judging by its name, it is one.
    """
    if is_list(path):
        raise InputError(f"{path} is a list, not an image", "scenetags predict and plan take it as --input_list")
    if path.lower().endswith(STAC_ENDINGS):
        raise InputError(f"{path} is not an image", "if it is a STAC document, say which --asset to tag, e.g. visual")
    if is_virtual(path) and documents.trusted is None:
        raise InputError(
            f"{path} is a virtual raster, which names other files", "if you trust it, add --tile and --allow_vrt"
        )


def _expand_documents(pattern: str, passed_over: Counter[str] | None, documents: Documents) -> Iterator[Listed]:
    """List what one input names, or what the STAC documents name which it is or matches."""
    if not documents.assets or not pattern.lower().endswith(STAC_ENDINGS):
        return _expand(pattern, passed_over, documents)
    if MAGIC.search(pattern) and not _exists(pattern):
        return list_matching(_expand(pattern, passed_over, documents), documents.assets)
    return list_assets(pattern, documents.assets)


def _expand(pattern: str, passed_over: Counter[str] | None, documents: Documents) -> Iterator[Listed]:
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
        if isinstance(listed, ImageRef) and listed.path == storage.normalize(outer):
            _refuse_document(outer, documents)
        if isinstance(listed, ImageRef) and archives.is_archive(listed.path):
            yield from list_members(listed, inner, passed_over)
        else:
            yield listed
