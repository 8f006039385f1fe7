"""Files by their paths, wherever they are: on this machine, in gs:// or s3://, or where Beam has a file system.

Every other module reaches files through here. Each kind of storage has a room of its own, and all of them do the same.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import IO, Protocol

from pipelines.storage import local
from pipelines.storage.buckets import BucketStore
from pipelines.storage.errors import (
    FileTooLargeError,
    LockedError,
    NoAccessError,
    TransientError,
    UnsupportedStorageError,
    without_secrets,
)
from pipelines.storage.objects import Access, Entry
from pipelines.storage.patience import hurried

__all__ = [
    "Access",
    "Entry",
    "FileTooLargeError",
    "LockedError",
    "NoAccessError",
    "TransientError",
    "UnsupportedStorageError",
    "hurried",
    "without_secrets",
]

BUCKETS = ("gs://", "s3://")

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

Leave = Callable[[], None]

_access = Access()
_making = threading.Lock()


class Store(Protocol):
    """What every kind of storage does; the functions of this module say what each means."""

    def read(self, path: str, max_bytes: int | None = None) -> bytes: ...
    def read_range(self, path: str, start: int, length: int) -> bytes: ...
    def open_to_read(self, path: str) -> IO[bytes]: ...
    def write(self, path: str, data: bytes) -> None: ...
    def create(self, path: str) -> IO[bytes]: ...
    def move(self, source: str, target: str) -> None: ...
    def exists(self, path: str) -> bool: ...
    def sync(self, path: str) -> None: ...
    def delete(self, paths: Sequence[str]) -> None: ...
    def delete_folder(self, path: str) -> None: ...
    def list_files(self, folder: str, ending: str = "") -> list[str]: ...
    def list_folders(self, folder: str, beginning: str = "") -> list[str]: ...
    def lock(self, path: str, owner: str, waiting: Callable[[str], None]) -> AbstractContextManager[Leave]: ...
    def read_lock(self, path: str) -> str: ...


def use(access: Access) -> None:
    """Reach buckets in this way, in all of this process."""
    global _access
    if access != _access:
        _access = access
        _store.cache_clear()


def is_remote(path: str) -> bool:
    """Tell whether a path is not one of this machine."""
    return _SCHEME.match(path) is not None


def can_be_written(path: str) -> bool:
    """Tell whether an output can be at a path."""
    return not is_remote(path) or path.startswith(BUCKETS)


def normalize(path: str) -> str:
    """Give the path of a folder or file its one absolute spelling.

    Raises:
      UnsupportedStorageError: the path is in no kind of storage that can be reached.
    """
    if is_remote(path):
        scheme, _, rest = path.partition("://")
        if not _is_reached(scheme):
            raise UnsupportedStorageError(
                f"{without_secrets(path)}: only local paths and those in {' and '.join(BUCKETS)} can be reached, and "
                "those that Beam has a file system for"
            )
        if not rest.strip("/"):
            raise UnsupportedStorageError(f"{path} names no bucket")
        return path.rstrip("/")
    return os.path.abspath(os.path.expanduser(path))


def join(folder: str, *names: str) -> str:
    """Join names to a folder."""
    return "/".join((folder.rstrip("/"), *names))


def read(path: str, max_bytes: int | None = None) -> bytes:
    """Read a whole file; what fails for a reason that passes is tried again.

    Args:
      path: of the file.
      max_bytes: that are read at most.

    Raises:
      FileTooLargeError: it is larger.
      TransientError: it could not be read now, and may be later.
      OSError: the file is missing or cannot be read.
    """
    return _at(path).read(path, max_bytes)


def read_range(path: str, start: int, length: int) -> bytes:
    """Read so many bytes of a file, from byte `start` on; fewer at its end.

    Raises:
      TransientError: they could not be read now, and may be later.
      OSError: the file is missing or cannot be read.
    """
    return _at(path).read_range(path, start, length)


def open_to_read(path: str) -> IO[bytes]:
    """Open a file to read parts of it.

    Raises:
      OSError: the file is missing or cannot be read.
    """
    return _at(path).open_to_read(path)


def write(path: str, data: bytes) -> None:
    """Write a whole file so that a reader sees all of it or none of it.

    Raises:
      OSError: the file cannot be written.
    """
    _at(path).write(path, data)


def create(path: str) -> IO[bytes]:
    """Open a new file for writing, making the folders above it.

    Raises:
      OSError: the file cannot be created; in a bucket that is found out when it is closed.
    """
    return _at(path).create(path)


def move(source: str, target: str) -> None:
    """Move a file into place within its kind of storage, replacing what is there.

    Raises:
      OSError: the file cannot be moved.
    """
    _at(source).move(source, target)


def exists(path: str) -> bool:
    """Tell whether there is a file."""
    return _at(path).exists(path)


def sync(path: str) -> None:
    """Wait until a file would survive a loss of power.

    Raises:
      OSError: it is missing.
    """
    _at(path).sync(path)


def delete(paths: Sequence[str]) -> None:
    """Delete files of one kind of storage; missing ones are no error."""
    if paths:
        _at(paths[0]).delete(paths)


def delete_folder(path: str) -> None:
    """Delete a folder with all that is in it; a missing one is no error, and what cannot be deleted is left."""
    _at(path).delete_folder(path)


def list_files(folder: str, ending: str = "") -> list[str]:
    """List the files directly in a folder whose names have the ending, sorted; none where there is no such folder."""
    return _at(folder).list_files(folder, ending)


def list_folders(folder: str, beginning: str = "") -> list[str]:
    """List the folders directly in a folder whose names have the beginning, sorted."""
    return _at(folder).list_folders(folder, beginning)


def walk(prefix: str) -> Iterator[Entry]:
    """List the files in a bucket whose paths begin with a prefix, while they are asked for.

    Raises:
      OSError: they cannot be listed.
    """
    return _bucket_store(prefix).walk(prefix)


def look_up(path: str) -> Entry:
    """Tell of a file in a bucket without reading it.

    Raises:
      OSError: it is missing, or cannot be seen.
    """
    return _bucket_store(path).look_up(path)


def lock(path: str, owner: str, waiting: Callable[[str], None] = lambda _: None) -> AbstractContextManager[Leave]:
    """Hold a lock, which is a file of this path while it is held, and ends with its holder.

    With it comes a function that has it left behind in the end, for whoever carries on the holder's work to delete; on
    this machine there is nothing like that.

    Args:
      path: of the file.
      owner: what others are told who holds it.
      waiting: is told who holds a lock that has to be watched for a while, to see whether he still lives.

    Raises:
      LockedError: somebody else holds it.
      OSError: the file cannot be written.
    """
    return _at(path).lock(path, owner, waiting)


def read_lock(path: str) -> str:
    """Read who holds a lock; nothing where nobody does.

    Raises:
      OSError: that cannot be found out.
    """
    try:
        return _at(path).read_lock(path)
    except FileNotFoundError:
        return ""


def _at(path: str) -> Store:
    return _bucket_store(path) if is_remote(path) else local


def _bucket_store(path: str) -> BucketStore:
    # Threads that come together would each make a client, and a client finds credentials and opens connections.
    with _making:
        return _store(path[: path.index("://")])


@lru_cache
def _is_reached(scheme: str) -> bool:
    if f"{scheme}://" in BUCKETS:
        return True
    # It takes a second to import, for which those who have no such paths do not wait.
    from pipelines.storage.beam_files import has_file_system

    return has_file_system(scheme)


@lru_cache
def _store(scheme: str) -> BucketStore:
    # A provider's library is imported where there is a bucket of his only: they are large, and not all installed.
    if scheme == "gs":
        from pipelines.storage.google import GoogleObjects

        return BucketStore(GoogleObjects(_access))
    if scheme != "s3":
        from pipelines.storage.beam_files import BeamObjects

        return BucketStore(BeamObjects(scheme))
    try:
        from pipelines.storage.amazon import AmazonObjects
    except ModuleNotFoundError as error:
        raise NoAccessError(f"s3:// needs {error.name}: pip install 'scenetags[s3]'") from error
    return BucketStore(AmazonObjects(_access))
