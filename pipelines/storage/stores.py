"""The storage of a path, and how this process accesses buckets: what the functions of `storage` call."""

# ruff: noqa: D102 - the methods of `Store` are documented in `storage`

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from typing import IO, Protocol

from pipelines.storage import local
from pipelines.storage.buckets import BucketStore
from pipelines.storage.errors import NoAccessError
from pipelines.storage.objects import Access, Move
from pipelines.storage.patience import patiently
from pipelines.storage.spelling import bucket_of, is_remote

Leave = Callable[[], None]

_access = Access()
_making = threading.Lock()


class Store(Protocol):
    """Interface of every kind of storage; the functions of the same names in `storage` document each method."""

    def read(self, path: str, max_bytes: int | None = None) -> bytes: ...
    def read_range(self, path: str, start: int, length: int, fingerprint: str = "") -> bytes: ...
    def open_to_read(self, path: str, fingerprint: str = "") -> IO[bytes]: ...
    def write(self, path: str, data: bytes) -> None: ...
    def create(self, path: str) -> IO[bytes]: ...
    def move(self, source: str, target: str) -> None: ...
    def move_all(self, moves: Sequence[Move]) -> list[Move]: ...
    def exists(self, path: str) -> bool: ...
    def leads_away(self, folder: str, path: str) -> bool: ...
    def sync_all(self, paths: Sequence[str]) -> None: ...
    def delete(self, paths: Sequence[str]) -> None: ...
    def delete_folder(self, path: str) -> None: ...
    def list_files(self, folder: str, ending: str = "") -> list[str]: ...
    def list_sizes(self, folder: str, ending: str = "") -> dict[str, int]: ...
    def list_fingerprints(self, folder: str, ending: str = "") -> dict[str, str]: ...
    def list_deeper(self, folder: str, ending: str) -> Iterator[str]: ...
    def list_folders(self, folder: str, beginning: str = "") -> list[str]: ...
    def lock(
        self, path: str, owner: str, tell: Callable[[str], None], sleep: Callable[[float], None]
    ) -> AbstractContextManager[Leave]: ...
    def read_lock(self, path: str) -> str: ...


def use(access: Access) -> None:
    """Set how this process accesses buckets."""
    global _access
    if access != _access:
        _access = access
        open_store.cache_clear()


def at(path: str) -> Store:
    """Return the store in which a path lies."""
    return bucket_store(path) if is_remote(path) else local


def bucket_store(path: str) -> BucketStore:
    """Return the store of a bucket, or of another file system that is not this machine's."""

    def make() -> BucketStore:
        # Concurrent threads would each create a client, and a client looks up credentials and opens connections.
        with _making:
            return open_store(path[: path.index("://")], _access.anonymous and bucket_of(path) != _access.signed)

    return patiently(make)


@lru_cache
def open_store(scheme: str, anonymous: bool) -> BucketStore:
    """Open a provider's buckets once per process and way to access them.

    Raises:
      NoAccessError: a library that it needs is missing.
    """
    access = replace(_access, anonymous=anonymous)
    # A provider's library is imported only when one of its buckets is used: they are large, and not all installed.
    if scheme == "gs":
        from pipelines.storage.google import GoogleObjects

        return BucketStore(GoogleObjects(access))
    if scheme != "s3":
        from pipelines.storage.beam_files import BeamObjects

        return BucketStore(BeamObjects(scheme))
    try:
        from pipelines.storage.amazon import AmazonObjects
    except ModuleNotFoundError as error:
        raise NoAccessError(f"s3:// needs {error.name}", "run pip install 'scenetags[s3]'") from error
    return BucketStore(AmazonObjects(access))
