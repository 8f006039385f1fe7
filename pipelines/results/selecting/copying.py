"""Copy or link the images of a selection into a folder, local or in a bucket.

Nothing that is there is ever replaced: what is equal is left, so that the same command resumes, and what differs is a
failure. A local copy is written elsewhere in the folder and moved into its place: it is there as a whole or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import IO, TypeVar

from pipelines import archives, storage
from pipelines.errors import ScenetagsError
from pipelines.listing.lookup import refer
from pipelines.records import Failure, ImageRef, Listed
from pipelines.results.selecting.copies import AT_ONCE, CHANGED, Copies, Outcome
from pipelines.results.selecting.places import PARTIAL
from pipelines.results.sources import Source

Item = TypeVar("Item")

_PIECE = 1 << 20
_DIFFERS = "a different file is in its place"


class CopyError(ScenetagsError):
    """A folder that nothing can be copied into."""


def copy(copies: Copies, folder: str) -> Iterator[Outcome]:
    """Copy images into a folder.

    Args:
      copies: the images.
      folder: that receives them, normalized; created if missing.

    Yields:
      What became of each image.

    Raises:
      CopyError: the folder cannot be written to, or another process copies into it.
    """
    named, fingerprints = copies.named, copies.fingerprints
    by_archive: dict[str, dict[str, str]] = {}
    for name, source in named.items():
        if source.member is not None:
            by_archive.setdefault(source.path, {})[source.member] = name
    files = [(source, name) for name, source in named.items() if source.member is None]
    with _prepared(folder) as target:
        yield from copies.lost
        yield from _each(files, lambda source, name: target.put(name, source.path, fingerprints[source]))
        for archive, names in by_archive.items():
            yield from _copy_members(archive, names, fingerprints, target)


def link(copies: Copies, folder: str) -> Iterator[Outcome]:
    """Make symbolic links in a local folder; results and errors are those of `copy`.

    Raises:
      CopyError: also if an image is not a local file.
    """
    for source in copies.fingerprints:
        if source.member is not None or storage.is_remote(source.path):
            kind = "not on this machine" if source.member is None else "a member of an archive"
            raise CopyError(f"{source} is {kind}, which no link can point to", "copy it")
    files = [(source, name) for name, source in copies.named.items()]
    with _prepared(folder) as target:
        yield from copies.lost
        yield from _each(files, lambda source, name: target.link(name, source.path, copies.fingerprints[source]))


class _Target:
    """A folder that receives images; each method returns whether it added one, or an equal one was there."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def put(self, name: str, source: str, fingerprint: str) -> bool:
        status = None if storage.is_remote(source) else os.stat(source)
        if status and storage.fingerprint_of(status) != fingerprint:
            raise storage.ChangedFileError
        target = self._place(name)
        if status and _is_copy(status, target):
            return False
        with storage.open_to_read(source, fingerprint) as file:
            return self._add(target, file, status)

    def put_bytes(self, name: str, data: bytes) -> bool:
        return self._add(self._place(name), io.BytesIO(data), None)

    def link(self, name: str, source: str, fingerprint: str) -> bool:
        if storage.fingerprint_of(os.stat(source)) != fingerprint:
            raise storage.ChangedFileError
        target = self._place(name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            os.symlink(source, target)
        except FileExistsError as error:
            if os.path.islink(target) and os.readlink(target) == source:
                return False
            raise FileExistsError(errno.EEXIST, _DIFFERS) from error
        return True

    def _place(self, name: str) -> str:
        target = storage.join(self._folder, name)
        folder = os.path.dirname(target)
        within = not storage.is_remote(target) and folder != self._folder
        if within and os.path.lexists(folder) and storage.leads_away(self._folder, folder):
            raise OSError(errno.ELOOP, "a link in the target folder leads out of it")
        return target

    def _add(self, target: str, file: IO[bytes], status: os.stat_result | None) -> bool:
        remote = storage.is_remote(target)
        if storage.exists(target) if remote else os.path.lexists(target):
            if not _is_equal(file, target):
                raise FileExistsError(errno.EEXIST, _DIFFERS)
            return False
        if remote:
            with storage.create(target) as copied:
                shutil.copyfileobj(file, copied, _PIECE)
            return True
        partial = storage.join(self._folder, PARTIAL, str(next(self._numbers)))
        try:
            with storage.create(partial) as copied:
                shutil.copyfileobj(file, copied, _PIECE)
            if status:
                # By its time the next run knows the copy, without reading it.
                os.utime(partial, ns=(status.st_atime_ns, status.st_mtime_ns))
            storage.move(partial, target)
        except BaseException:
            storage.delete([partial])
            raise
        return True


@contextmanager
def _prepared(folder: str) -> Iterator[_Target]:
    """Make a folder ready to receive images; a local one is locked, and what a killed process left is deleted."""
    if storage.is_remote(folder):
        yield _Target(folder)
        return
    partial = storage.join(folder, PARTIAL)
    try:
        os.makedirs(partial, exist_ok=True)
        held = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise CopyError(f"{folder} cannot be written to: {error.strerror}") from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CopyError(f"another process is copying into {folder}", "wait for it to end") from error
        storage.delete(storage.list_files(partial))
        yield _Target(folder)
        with suppress(OSError):
            os.rmdir(partial)
    finally:
        os.close(held)


def _each(
    items: Sequence[tuple[Source, Item]], work: Callable[[Source, Item], bool], at_once: int = AT_ONCE
) -> Iterator[Outcome]:
    """Do something with each image, several at a time."""

    def attempt(item: tuple[Source, Item]) -> Outcome:
        try:
            return Outcome(item[0], work(*item))
        except storage.ChangedFileError:
            return Outcome(item[0], False, CHANGED)
        except OSError as error:
            return Outcome(item[0], False, storage.reason_of(error))

    executor = ThreadPoolExecutor(at_once, thread_name_prefix="copy")
    try:
        yield from executor.map(attempt, items)
    finally:
        executor.shutdown(cancel_futures=True)


def _copy_members(
    archive: str, names: Mapping[str, str], fingerprints: Mapping[Source, str], target: _Target
) -> Iterator[Outcome]:
    """Copy members of an archive; of a compressed one in the order in which they are stored, which is one pass."""
    listed, missing = _list(archive, names)
    at_once = 1 if any(isinstance(item, ImageRef) and archives.is_streamed(item) for _, item in listed) else AT_ONCE
    with closing(archives.Streams()) as streams:

        def put(source: Source, item: Listed) -> bool:
            assert source.member is not None
            return target.put_bytes(names[source.member], _read(item, fingerprints[source], streams))

        yield from _each(listed, put, at_once)
    found = {source.member for source, _ in listed}
    yield from (Outcome(Source(archive, member), False, missing) for member in names if member not in found)


def _list(archive: str, wanted: Mapping[str, str]) -> tuple[list[tuple[Source, Listed]], str]:
    """List members of an archive; also return the reason why others are not listed."""
    file = refer(archive)
    if isinstance(file, Failure):
        return [], file.message
    beginning = len(file.path) + len(archives.SEPARATOR)
    listed = []
    try:
        for item in archives.list_members(file, wanted.__contains__):
            if item.path[beginning:] in wanted:
                listed.append((Source(archive, item.path[beginning:]), item))
    except OSError as error:
        return listed, storage.reason_of(error)
    return listed, "the archive has no such member any more"


def _read(item: Listed, fingerprint: str, streams: archives.Streams) -> bytes:
    if isinstance(item, Failure):
        raise OSError(item.message)
    if item.fingerprint != fingerprint:
        raise storage.ChangedFileError
    return streams.read(item) if archives.is_streamed(item) else archives.read_member(item, lambda head, size: None)


def _is_copy(status: os.stat_result, target: str) -> bool:
    """Return whether there is a file of the size and time of its source, as `_Target` leaves it."""
    if storage.is_remote(target) or not os.path.isfile(target):
        return False
    there = os.stat(target)
    return (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def _is_equal(file: IO[bytes], target: str) -> bool:
    with storage.open_to_read(target) as other:
        while (piece := file.read(_PIECE)) == other.read(_PIECE):
            if not piece:
                return True
    return False
