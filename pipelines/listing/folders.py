"""Expand inputs on this machine: folders, patterns and files."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from pipelines import archives, storage
from pipelines.images.hidden import HIDDEN, hides, is_picture_of_bundle
from pipelines.listing.lookup import EmptyInputError, InputError
from pipelines.listing.names import (
    CURVES,
    MAGIC,
    Steps,
    count,
    hint_at_brackets,
    is_chosen,
    is_image,
)
from pipelines.listing.pace import refer_each
from pipelines.records import Failure, Listed, not_listed
from pipelines.supervision import interruption

_DOTS = (".", "..")
_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_MOST_RETRIED = 10

Result = TypeVar("Result")


def expand_here(pattern: str, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List what one input names, each folder once: by its real path if that is within the input.

    Raises:
      InputError: the input matches nothing.
    """
    root = storage.normalize(pattern)
    if os.path.lexists(root):
        begin, steps = root, Steps("")
    else:
        # Made absolute only after splitting: special characters in the folders above are not part of the pattern.
        above, below = _split(os.path.expanduser(pattern))
        begin, steps = os.path.abspath(above), Steps(below)
    search = _Search(steps, passed_over)
    yield from refer_each(search.begin_at(begin))
    if not search.matched:
        # Below a folder that is missing, a pattern is mistyped rather than without images for once.
        kind = EmptyInputError if os.path.isdir(begin) and MAGIC.search(pattern) else InputError
        raise kind(f"no file or folder matches {pattern}", hint_at_brackets(pattern) or _hint_at_name(pattern))


class _Folder(NamedTuple):
    """A folder to look into.

    Attributes:
      path: by which it was found.
      real: its path without links.
      at: the places in the pattern that have been reached with it.
      before: those at which it has been looked into already, through another link.
    """

    path: str
    real: str
    at: frozenset[int]
    before: frozenset[int] = frozenset()


class _Search:
    """A search that looks into each folder once, however many links lead to it, and follows links last.

    Otherwise a few links between folders would multiply their images, or never end. The search keeps a stack of its
    own, since folders can be nested deeper than Python calls.
    """

    def __init__(self, steps: Steps, passed_over: Counter[str] | None) -> None:
        self.matched = False
        self._failed = 0
        self._steps = steps
        self._passed_over = passed_over
        self._links: deque[_Folder] = deque()
        # By real paths, since some network file systems number two folders alike.
        self._seen: defaultdict[str, frozenset[int]] = defaultdict(frozenset)

    def begin_at(self, path: str) -> Iterator[Listed | str]:
        """Find what the pattern matches from here on: paths of files, and failures of folders."""
        if self._patiently(lambda: _is_folder(path)):
            self._links.append(_Folder(path, "", self._steps.begin()))
        elif not self._steps.end:
            self.matched = True
            yield path
        while self._links:
            folder = self._links.popleft()
            yield from self._search(folder._replace(real=os.path.realpath(folder.path)))

    def _search(self, folder: _Folder) -> Iterator[Listed | str]:
        """Find what is in a folder and below it, and collect the links to other folders."""
        open_folders = [self._look_into(folder)]
        while open_folders:
            found = next(open_folders[-1], None)
            if found is None:
                open_folders.pop()
            elif isinstance(found, _Folder):
                open_folders.append(self._look_into(found))
            else:
                yield found

    def _look_into(self, folder: _Folder) -> Iterator[_Folder | Listed | str]:
        """Find the folders in a folder, and what is to be listed."""
        # A folder reached at another place in the pattern may match other files.
        before = self._seen[folder.real]
        at = folder.at - before
        if not at:
            return
        self._seen[folder.real] |= at
        self.matched |= self._steps.end in at
        literals = self._steps.literals(at)
        try:
            names, others = self._patiently(lambda: _read(folder.path, literals))
        except OSError as error:
            self.matched = True
            yield _unlisted(folder.path, error)
            return
        for name in names:
            if is_picture_of_bundle(name, names) and self._is_listed(at, self._steps.advance(at, name), name):
                count(self._passed_over, CURVES)
                continue
            found = self._sort_out(folder._replace(at=at, before=before), name, is_file=name not in others)
            if found is not None:
                yield found

    def _patiently(self, look: Callable[[], Result]) -> Result:
        """Look at a folder again where that fails for a reason that may pass, as network file systems do now and then.

        Raises:
          OSError: it still fails. If many do, a disk is gone, and the others are not waited for.
        """
        if self._failed >= _MOST_RETRIED:
            return look()
        try:
            return storage.retried(look)
        except storage.TransientError:
            self._failed += 1
            raise

    def _sort_out(self, folder: _Folder, name: str, *, is_file: bool) -> _Folder | Listed | str | None:
        """Return what an entry of a folder is to the search: a folder to look into, a path to list, or nothing."""
        interruption.check()
        below = self._steps.end in folder.at
        reached = self._steps.advance(folder.at, name)
        hidden = None if reached else hides(name)
        if not reached and (not below or hidden):
            if hidden and (below or (hidden != HIDDEN and self._steps.goes_deep(folder.at))):
                count(self._passed_over, hidden)
            return None
        path = os.path.join(folder.path, name)
        try:
            is_folder = not is_file and self._patiently(lambda: _is_folder(path))
        except OSError as error:
            # It may be a folder. Of what is named like an image, `refer_all` gives the reason.
            if not is_image(name):
                self.matched = True
                return _unlisted(path, error)
            is_folder = False
        if is_folder:
            at = self._steps.enter(reached | {self._steps.end} if below else reached)
            found = _Folder(path, os.path.join(folder.real, name), at)
            if not os.path.islink(path) and name not in _DOTS:
                return found
            self._links.append(found._replace(path=os.path.normpath(path)))
            return None
        if folder.before and self._is_listed(folder.before, self._steps.advance(folder.before, name), name):
            # Under the path by which the folder was found first.
            return None
        if self._is_listed(folder.at, reached, name, self._passed_over):
            self.matched = True
            return path
        return None

    def _is_listed(
        self, at: frozenset[int], reached: set[int], name: str, passed_over: Counter[str] | None = None
    ) -> bool:
        """Return whether a file is listed that has reached these places in a folder at those."""
        if self._steps.end in reached and not self._steps.only_folders:
            return is_chosen(name, passed_over)
        return self._steps.end in at and is_image(name, passed_over)


def _split(pattern: str) -> tuple[str, str]:
    """Split a pattern into the folder to begin at and the rest, which is not empty."""
    parts = pattern.rstrip("/").split("/")
    count = next((place for place, part in enumerate(parts) if Steps.is_magic(part)), len(parts) - 1)
    above = "/".join(parts[:count]) or ("/" if pattern.startswith("/") else ".")
    return above, "/".join(parts[count:]) + "/" * pattern.endswith("/")


def _hint_at_name(pattern: str) -> str:
    """Return what may be meant by a name that does not exist."""
    archive, below = pattern, ""
    while (archive := os.path.dirname(archive.rstrip("/"))) not in ("", "/"):
        below = pattern[len(archive) :].strip("/")
        if archives.is_archive(archive) and os.path.isfile(os.path.expanduser(archive)):
            return f"write {archive}{archives.SEPARATOR}{below} for a member of an archive"
    return storage.hint_at_near(pattern)


def _read(folder: str, literals: frozenset[str] | None) -> tuple[list[str], frozenset[str] | set[str]]:
    """Return the names in a folder, sorted, and those of them that are not regular files.

    Args:
      folder: to read.
      literals: names to look for; None for all. A folder may be closed to reading, but not to looking for names.
    """
    if literals is not None:
        found = frozenset(name for name in literals if _exists(os.path.join(folder, name)))
        return sorted(found), found
    names, others = [], set()
    with os.scandir(folder) as entries:
        for entry in entries:
            interruption.check()
            names.append(entry.name)
            if not entry.is_file(follow_symlinks=False):
                others.add(entry.name)
    names.sort()
    return names, others


def _exists(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            return False
        raise


def _unlisted(path: str, error: OSError) -> Failure:
    return not_listed(archives.name_file(path), storage.UnlistedFolderError(error.strerror or str(error)))
