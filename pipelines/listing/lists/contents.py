"""Look up what lists of any length name."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from itertools import starmap
from typing import NamedTuple

from pipelines import archives, storage
from pipelines.errors import quantity
from pipelines.listing.lists.files import (
    PATH_COLUMN,
    STANDARD_INPUT,
    describe,
    locate,
    read_names,
    read_table_names,
    refusals_explained,
)
from pipelines.listing.lists.kept import as_texts
from pipelines.listing.lists.names import Blank, Named, NoName, NoNameError, Row, describe_place
from pipelines.listing.lookup import EmptyInputError, InputError, refer, refer_all
from pipelines.listing.masking import MaskedNames
from pipelines.listing.members import Archive, open_archive
from pipelines.listing.names import MAGIC
from pipelines.listing.pace import Pace
from pipelines.listing.threads import UnawaitedPool
from pipelines.records import Failure, ImageRef, KeptColumn, Listed, not_listed
from pipelines.scenes.grid import split_window
from pipelines.supervision import interruption

_LOOK_UPS = 32
_ARCHIVES = 4
_SHOWN_LINES = 5

BLANK_LINES = "blank lines in the list"
"""Under which they are counted among what is passed over."""


class Pack(NamedTuple):
    """Some names of a list.

    Attributes:
      names: as they are in the list.
      place: where the list is, in words.
      folder: at which relative names start.
      before: a number larger than that of the names before them.
    """

    names: Iterable[Named]
    place: str
    folder: str
    before: int = 0


def read_list(
    path: str,
    column: str = PATH_COLUMN,
    passed_over: Counter[str] | None = None,
    tell: Callable[[str], object] = lambda _: None,
    kept: Sequence[KeptColumn] = (),
) -> Iterator[Listed]:
    """List the images that a file names, without loading the whole file into memory.

    Args:
      path: of the list; `-` for standard input.
      column: that holds the paths.
      passed_over: receives the number of blank lines, and of members of archives that are not named like images.
      tell: called with what is remarkable about the list.
      kept: columns whose values are kept with the images.

    Raises:
      InputError: the file cannot be read, or has no such column.
      EmptyInputError: it names nothing.
    """
    path = locate(path)
    empty = True
    for listed in look_up_pack(open_list(path, column, passed_over, tell, kept)):
        empty = False
        if isinstance(listed, Archive):
            yield from open_archive(listed, passed_over)
        else:
            yield listed
    if empty:
        raise nothing_in_list(path)


def open_list(
    path: str,
    column: str,
    passed_over: Counter[str] | None,
    tell: Callable[[str], object],
    kept: Sequence[KeptColumn],
    table: str = "",
) -> Pack:
    """Return all names of a list, or of one of its files if it is a folder, to be read as they are taken.

    Raises:
      InputError: its path is that of no list; and as names are taken, it cannot be read, or has no such column.
    """
    columns = [column.name for column in kept]
    named = read_table_names(path, table, column, columns) if table else read_names(path, column, passed_over, columns)
    names = _without_blanks(_with_texts(named, path, kept), path, passed_over, tell)
    return Pack(names, *_find_place(path))


def look_up_pack(pack: Pack) -> Iterator[Listed | Archive]:
    """Look up names of a list, a few ahead of what is consumed."""
    masked = MaskedNames(pack.before)
    for listed in _look_up_each(pack):
        if isinstance(listed, ImageRef) and listed.place is None and archives.is_archive(listed.path):
            yield Archive(listed, in_list=True)
        else:
            yield masked.mask(listed)


def nothing_in_list(path: str) -> EmptyInputError:
    """Describe a list without names."""
    return EmptyInputError(f"{describe(path)} lists no images")


def _find_place(path: str) -> tuple[str, str]:
    """Return where a list is, in words, and the folder at which relative names in it start."""
    if path == STANDARD_INPUT:
        return describe(path), os.getcwd()
    try:
        place = storage.normalize(path)
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error
    return place, os.path.dirname(place)


def _with_texts(names: Iterable[Named], path: str, kept: Sequence[KeptColumn]) -> Iterator[Named]:
    """Pass on names, with the values that are kept as texts."""
    for name in names:
        if isinstance(name, Row):
            with refusals_explained(path):
                name = name._replace(values=as_texts(kept, name.values))
        yield name


def _without_blanks(
    names: Iterable[Named], path: str, passed_over: Counter[str] | None, tell: Callable[[str], object]
) -> Iterator[Named]:
    """Pass on names; count blank lines, and say where they are."""
    blank = _BlankLines()
    for name in names:
        if isinstance(name, Blank):
            blank.add(name.line)
        else:
            yield name
    if blank.count:
        tell(f"{describe(path)}: {blank}")
        if passed_over is not None:
            passed_over[BLANK_LINES] += blank.count


def _look_up_each(pack: Pack) -> Iterator[Listed]:
    # Looked up once for all its members: in a bucket each look-up is a request.
    refer_archive, pace = lru_cache(_ARCHIVES)(refer), Pace()
    with UnawaitedPool(_LOOK_UPS, "list") as pool:
        ahead: deque[tuple[Listed | Future[Listed], tuple[str | None, ...]]] = deque()
        for named in pack.names:
            interruption.check()
            name, kept = named if isinstance(named, Row) else (named, ())
            if isinstance(name, str):
                ahead.append((_refer_named(name, pack.folder, pool, refer_archive, pace), kept))
            elif isinstance(name, NoName):
                ahead.append((_refuse(name, pack.place), kept))
            if len(ahead) > 4 * _LOOK_UPS:
                yield _result(*ahead.popleft())
        yield from starmap(_result, ahead)


class _BlankLines:
    """The blank lines of a list: their number, and where the first of them are."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def add(self, line: int) -> None:
        self.count += 1
        if len(self._first) < _SHOWN_LINES:
            self._first.append(line)

    def __str__(self) -> str:
        lines = ", ".join(f"{line:,}" for line in self._first) + ", ..." * (self.count > _SHOWN_LINES)
        return f"{quantity(self.count, 'blank line')} ({'line' if self.count == 1 else 'lines'} {lines})"


def _refuse(named: NoName, place: str) -> Failure:
    return not_listed(describe_place(named, place), NoNameError(named.reason))


def _refer_named(
    name: str, folder: str, pool: UnawaitedPool, refer_archive: Callable[[str], Listed], pace: Pace
) -> Listed | Future[Listed]:
    """Look up a listed name; where that takes long, as in a bucket, concurrently with others."""
    try:
        name = storage.plain(name)
    except storage.UnsupportedStorageError as error:
        return _escaped(name, error)
    path = name if storage.is_remote(name) else os.path.join(folder, name)
    # Split before it is normalized: the name of a member is no path, and `a//b.jpg` another member than `a/b.jpg`.
    archive, member = archives.split_member(path)
    try:
        if member and not os.path.lexists(path):
            archive = storage.normalize(archive)
            found = _find_member(refer_archive(archive), archive, member)
            # In a bucket it takes a request to see whether an object has this very name: only made if no member has.
            itself = refer(_normalize(path)) if isinstance(found, Failure) and storage.is_remote(path) else None
            return itself if isinstance(itself, ImageRef) else found
        path = _normalize(path)
    except (storage.UnsupportedStorageError, ValueError) as error:
        return _escaped(name, error)
    if pace.slow or storage.is_remote(path):
        return pool.submit(_look_up, path)
    return pace.look_up(_look_up, path)


def _look_up(path: str) -> Listed:
    """Look up a name; if it is one that only an input can have, say so."""
    listed = refer_all(path)
    if not isinstance(listed, Failure):
        return listed
    if not storage.is_remote(path) and os.path.isdir(path):
        # As of an archive: nobody knows how many images are in it.
        return listed._replace(
            error=storage.UnlistedFolderError.__name__, message="a list has no folders, give them as --input"
        )
    if listed.error == FileNotFoundError.__name__ and MAGIC.search(path) and not split_window(path):
        return listed._replace(message=f"{listed.message}; a list has no patterns, give them as --input")
    return listed


def _escaped(name: str, error: Exception) -> Failure:
    """Describe why a name names nothing that could be escaped as a path is."""
    return not_listed(name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode(), error)


def _normalize(path: str) -> str:
    """Normalize a path, but keep slashes at the end of an object's name: they are a part of it."""
    normalized = storage.normalize(path)
    is_object = path.endswith("/") and storage.is_remote(path) and "/" in normalized.partition("://")[2]
    return storage.unmarked(path) if is_object else normalized


def _find_member(archive: Listed, path: str, name: str) -> Listed:
    """Find a member of an archive by its name."""
    member = f"{archives.name_file(path)}{archives.SEPARATOR}{name}"
    if isinstance(archive, Failure):
        return archive._replace(path=storage.escaped(member))
    try:
        directory = _directory(archive)
    except OSError as error:
        return not_listed(member, error)
    missing = not_listed(member, FileNotFoundError("no such member in the archive"))
    broken = directory.get(archive.path)
    if isinstance(broken, Failure):
        missing = broken._replace(path=missing.path)
    return directory.get(missing.path) or missing


@lru_cache(_ARCHIVES)
def _directory(archive: ImageRef) -> Mapping[str, Listed]:
    return {listed.path: listed for listed in archives.list_members(archive, lambda name: True)}


def _result(looked_up: Listed | Future[Listed], kept: tuple[str | None, ...]) -> Listed:
    listed = looked_up.result() if isinstance(looked_up, Future) else looked_up
    return listed._replace(kept=kept) if kept else listed
