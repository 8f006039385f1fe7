"""Access files by path: on this machine, in gs:// or s3://, or wherever Beam has a file system.

Every other module accesses files through this one. Each kind of storage has its own module with the same interface.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO

from pipelines.storage import stores
from pipelines.storage.errors import (
    ChangedFileError,
    FileTooLargeError,
    LockedError,
    NoAccessError,
    TransientError,
    UnlistedFolderError,
    UnsupportedStorageError,
    reason_of,
)
from pipelines.storage.local import fingerprint_of, retried
from pipelines.storage.near import hint_at_holder, hint_at_near, hint_at_scheme
from pipelines.storage.objects import Access, Entry, Move
from pipelines.storage.patience import hurried
from pipelines.storage.spelling import (
    BUCKETS,
    bucket_of,
    can_be_written,
    digest_path,
    escaped,
    is_remote,
    lists_ranges,
    marked,
    normalize,
    plain,
    unmarked,
)
from pipelines.storage.stores import Leave, use

__all__ = [
    "BUCKETS",
    "Access",
    "ChangedFileError",
    "Entry",
    "FileTooLargeError",
    "LockedError",
    "Move",
    "NoAccessError",
    "TransientError",
    "UnlistedFolderError",
    "UnsupportedStorageError",
    "bucket_of",
    "can_be_written",
    "digest_path",
    "escaped",
    "fingerprint_of",
    "hint_at_holder",
    "hint_at_near",
    "hint_at_scheme",
    "hurried",
    "is_remote",
    "lists_ranges",
    "marked",
    "normalize",
    "plain",
    "reason_of",
    "retried",
    "unmarked",
    "use",
]


def join(folder: str, *names: str) -> str:
    """Join names to a folder."""
    return "/".join((folder.rstrip("/"), *names))


def read(path: str, max_bytes: int | None = None) -> bytes:
    """Read a whole file, retrying transient errors.

    Args:
      path: of the file.
      max_bytes: upper limit on its size.

    Raises:
      FileTooLargeError: the file is larger than `max_bytes`.
      TransientError: the file cannot be read now, but may be readable later.
      OSError: the file is missing or cannot be read.
    """
    return stores.at(path).read(path, max_bytes)


def read_range(path: str, start: int, length: int, fingerprint: str = "") -> bytes:
    """Read `length` bytes of a file from byte `start`; fewer if it ends before.

    Args:
      path: of the file.
      start: first byte.
      length: in bytes.
      fingerprint: that the file was listed with, where parts of different versions must not be mixed.

    Raises:
      ChangedFileError: its fingerprint is another one now.
      TransientError: the file cannot be read now, but may be readable later.
      OSError: the file is missing or cannot be read.
    """
    return stores.at(path).read_range(path, start, length, fingerprint)


def open_to_read(path: str, fingerprint: str = "") -> IO[bytes]:
    """Open a file for random access.

    Args:
      path: of the file.
      fingerprint: as in `read_range`; then reads raise a `ChangedFileError`, too.

    Raises:
      ChangedFileError: its fingerprint is another one now.
      OSError: the file is missing or cannot be read.
    """
    return stores.at(path).open_to_read(path, fingerprint)


def write(path: str, data: bytes) -> None:
    """Write a whole file so that a reader sees all of it or none of it.

    Raises:
      OSError: the file cannot be written.
    """
    stores.at(path).write(path, data)


def create(path: str) -> IO[bytes]:
    """Open a new file for writing, creating its parent folders.

    Raises:
      OSError: the file cannot be created; in a bucket this is raised on close.
    """
    return stores.at(path).create(path)


def move(source: str, target: str) -> None:
    """Move a file within its kind of storage, replacing any existing target.

    Raises:
      OSError: the file cannot be moved.
    """
    stores.at(source).move(source, target)


def move_all(moves: Sequence[Move]) -> list[Move]:
    """Move files within one kind of storage, in any order, replacing any existing targets.

    In a bucket, side by side, and no source is deleted before all copies are made: so a source that is missing has been
    moved before, or was deleted by somebody else.

    Returns:
      The moves whose source is missing.

    Raises:
      OSError: a file cannot be moved.
    """
    return stores.at(moves[0].source).move_all(moves) if moves else []


def exists(path: str) -> bool:
    """Return whether a file exists."""
    return stores.at(path).exists(path)


def leads_away(folder: str, path: str) -> bool:
    """Return whether a path below a folder is a link, lies behind one, or is a folder on another disk."""
    return stores.at(path).leads_away(folder, path)


def sync_all(paths: Sequence[str]) -> None:
    """Wait until files in one kind of storage would survive a power failure.

    Raises:
      OSError: a file is missing.
    """
    if paths:
        stores.at(paths[0]).sync_all(paths)


def delete(paths: Sequence[str]) -> None:
    """Delete files in one kind of storage, ignoring missing ones."""
    if paths:
        stores.at(paths[0]).delete(paths)


def delete_folder(path: str) -> None:
    """Delete a folder and its contents, leaving whatever cannot be deleted; a missing folder is ignored."""
    stores.at(path).delete_folder(path)


def list_files(folder: str, ending: str = "") -> list[str]:
    """List the files directly in a folder whose names end with `ending`, sorted; none if the folder is missing."""
    return stores.at(folder).list_files(folder, ending)


def list_sizes(folder: str, ending: str = "") -> dict[str, int]:
    """Return the sizes in bytes of the files that `list_files` lists."""
    return stores.at(folder).list_sizes(folder, ending)


def list_fingerprints(folder: str, ending: str = "") -> dict[str, str]:
    """Return the fingerprints of the files that `list_files` lists, which change when the files do."""
    return stores.at(folder).list_fingerprints(folder, ending)


def list_deeper(folder: str, ending: str) -> Iterator[str]:
    """List the files in sub-folders of a folder, at any depth, whose names end with `ending`.

    Sub-folders that are links are listed themselves, and not followed.
    """
    return stores.at(folder).list_deeper(folder, ending)


def list_folders(folder: str, beginning: str = "") -> list[str]:
    """List the folders directly in a folder whose names start with `beginning`, sorted."""
    return stores.at(folder).list_folders(folder, beginning)


def walk(prefix: str, after: str = "", until: str = "") -> Iterator[Entry]:
    """List the files in a bucket whose paths start with a prefix, lazily.

    Args:
      prefix: of the paths.
      after: path behind which a range begins; it is not part of the range, and need not exist.
      until: path with which the range ends; it is part of the range, and need not exist.

    Raises:
      OSError: the bucket cannot be listed; or not by ranges, because it does not list in the order of names.
    """
    return stores.bucket_store(prefix).walk(prefix, after, until)


def peek(prefix: str, after: str, most: int) -> tuple[list[str], bool]:
    """Return the first paths in a bucket that start with a prefix and come after another path.

    Args:
      prefix: of the paths.
      after: path behind which to look; it need not exist.
      most: paths to return, about.

    Returns:
      The paths, and whether there may be more.

    Raises:
      OSError: the bucket cannot be listed.
    """
    return stores.bucket_store(prefix).peek(prefix, after, most)


def look_up(path: str) -> Entry:
    """Return the metadata of a file in a bucket without reading it.

    Raises:
      OSError: the file is missing or inaccessible.
    """
    return stores.bucket_store(path).look_up(path)


def lock(
    path: str, owner: str, tell: Callable[[str], None] = lambda _: None, sleep: Callable[[float], None] = time.sleep
) -> AbstractContextManager[Leave]:
    """Hold a lock: a file that exists while the lock is held, and is released when its holder ends.

    The context manager yields a function that leaves the lock behind on exit, for the process that continues the
    holder's work to delete.

    Args:
      path: of the file.
      owner: description of the holder, shown to others that want the lock.
      tell: called, from any thread, with what happens to the lock, e.g. that it has to be watched to see whether its
        holder is alive, or that it was taken over.
      sleep: called with seconds to pass while the lock of another process is watched; it may raise to give up.

    Raises:
      LockedError: another process holds the lock.
      UnsupportedStorageError: the store does not honour the conditions of writes.
      OSError: the file cannot be written.
    """
    return stores.at(path).lock(path, owner, tell, sleep)


def read_lock(path: str) -> str:
    """Return the owner of a lock; empty if it is not held.

    Raises:
      OSError: the lock cannot be read.
    """
    try:
        return stores.at(path).read_lock(path)
    except FileNotFoundError:
        return ""
