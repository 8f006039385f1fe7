"""Expand what one input names: a folder, a pattern, a file, an archive or a STAC document."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from pipelines import archives, storage
from pipelines.images.formats import ENDINGS
from pipelines.listing.buckets import expand_in_bucket
from pipelines.listing.folders import expand_here
from pipelines.listing.lists.files import PATH_COLUMN, is_list
from pipelines.listing.lookup import EmptyInputError, InputError
from pipelines.listing.members import Archive, open_archive
from pipelines.listing.names import MAGIC, hint_at_brackets, spread_braces
from pipelines.listing.stac import STAC_ENDINGS, list_assets, list_matching
from pipelines.listing.stacks import is_virtual
from pipelines.records import ImageRef, KeptColumn, Listed
from pipelines.scenes.documents import NO_DOCUMENTS, Documents


class Inputs(NamedTuple):
    """What is listed.

    Attributes:
      patterns: folders, patterns, files, archives, and members of archives.
      input_list: a list of paths.
      path_column: of the list, that holds the paths.
      kept: columns of the list whose values are kept.
      allow_empty: whether there may be no image at all; None if the user has no flag to say so.
      documents: that may name files.
    """

    patterns: Sequence[str]
    input_list: str | None = None
    path_column: str = PATH_COLUMN
    kept: Sequence[KeptColumn] = ()
    allow_empty: bool | None = None
    documents: Documents = NO_DOCUMENTS


def spread(inputs: Sequence[str]) -> list[str]:
    """Expand the braces of inputs: each pattern is a source of its own.

    Raises:
      InputError: an input is empty, the URL of a file of another machine, or expands to too many.
    """
    return [pattern for written in inputs for pattern in spread_one(plain(written))]


def expand_files(pattern: str, passed_over: Counter[str] | None, documents: Documents) -> Iterator[Listed | Archive]:
    """List what one input names, or the STAC documents name which it is or matches; archives stay closed.

    Raises:
      InputError: the input does not exist, or a bucket cannot be listed.
      EmptyInputError: a pattern matches nothing in a folder of this machine.
    """
    try:
        if is_document(pattern, documents):
            if MAGIC.search(pattern) and not exists(pattern):
                files = _expand(pattern, passed_over, documents)
                yield from list_matching(_open_each(files, passed_over), documents.assets)
            else:
                yield from list_assets(pattern, documents.assets)
        else:
            yield from _expand(pattern, passed_over, documents)
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error
    except OSError as error:
        raise cannot_list(pattern, error) from error


def expand(
    pattern: str, passed_over: Counter[str] | None = None, documents: Documents = NO_DOCUMENTS
) -> Iterator[Listed]:
    """List what one input names, including members of archives.

    Raises:
      EmptyInputError: there is nothing.
      InputError: the input does not exist, or a bucket or an archive cannot be listed.
    """
    found = False
    try:
        for listed in _open_each(expand_files(pattern, passed_over, documents), passed_over):
            found = True
            yield listed
    except OSError as error:
        raise cannot_list(pattern, error) from error
    if not found:
        raise nothing_in(pattern)


def cannot_list(pattern: str, error: OSError) -> InputError:
    """Describe why an input cannot be listed."""
    return InputError(f"cannot list {pattern}: {error.strerror or error}")


def nothing_in(pattern: str) -> InputError:
    """Describe an input without images."""
    outer, inner = archives.split_member(pattern)
    if inner:
        # A member that is named is missing, as a file is; a pattern may match none for once.
        kind = EmptyInputError if MAGIC.search(inner) else InputError
        return kind(f"no member of {outer} matches {inner}", hint_at_brackets(inner))
    return EmptyInputError(
        f"no images in {pattern} (looked for files ending in {', '.join(ENDINGS)})", hint_at_brackets(pattern)
    )


def is_document(pattern: str, documents: Documents) -> bool:
    """Return whether an input names or matches STAC documents."""
    return bool(documents.assets) and pattern.lower().endswith(STAC_ENDINGS)


class Place(NamedTuple):
    """Where an input leads.

    Attributes:
      outer: the input without the pattern of members; in a bucket, unmarked.
      path: the same, normalized.
      members: pattern of members of archives, or None.
    """

    outer: str
    path: str
    members: str | None


def find_place(pattern: str) -> Place:
    """Split an input into files and members of archives; a name that exists is taken literally."""
    outer, inner = archives.split_member(pattern)
    # Who may not look up a name may still read the archive.
    with suppress(OSError):
        if inner and exists(pattern):
            outer, inner = pattern, None
    path = storage.normalize(outer)
    return Place(storage.unmarked(outer) if storage.is_remote(path) else outer, path, inner)


def sort_out(listed: Listed, place: Place, documents: Documents) -> Listed | Archive:
    """Return what a file is that was found at the place of an input.

    Raises:
      InputError: it is the input itself, and by its name a list or a document.
    """
    if isinstance(listed, ImageRef):
        if listed.path == place.path:
            _refuse_document(place.outer, documents)
        if archives.is_archive(listed.path):
            return Archive(listed, place.members)
    return listed


def exists(name: str) -> bool:
    """Return whether there is a file or folder of this literal name."""
    if storage.is_remote(name):
        path = storage.normalize(name)
        return storage.exists(path) or any(storage.walk(f"{path}/"))
    return os.path.lexists(os.path.expanduser(name))


def plain(written: str) -> str:
    """Write an input without what only URLs understand.

    Raises:
      InputError: it is the URL of a file of another machine.
    """
    try:
        return storage.plain(written)
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error


def spread_one(written: str) -> list[str]:
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
        return [written] if exists(written) else patterns
    except (OSError, storage.UnsupportedStorageError):
        return [written]


def _expand(pattern: str, passed_over: Counter[str] | None, documents: Documents) -> Iterator[Listed | Archive]:
    place = find_place(pattern)
    for listed in (expand_in_bucket if storage.is_remote(place.path) else expand_here)(place.outer, passed_over):
        yield sort_out(listed, place, documents)


def _open_each(files: Iterator[Listed | Archive], passed_over: Counter[str] | None) -> Iterator[Listed]:
    return chain.from_iterable(
        open_archive(file, passed_over) if isinstance(file, Archive) else (file,) for file in files
    )


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
