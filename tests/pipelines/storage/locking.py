"""Locks in buckets and on a shelf, and a clock that jumps."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import IO

from pipelines.storage import stores
from pipelines.storage.buckets import _split
from pipelines.storage.errors import ConflictError
from pipelines.storage.locks.leases import Lease
from pipelines.storage.locks.objects import LockObject
from pipelines.storage.locks.watching import Clock
from pipelines.storage.objects import ABSENT, Stored
from tests.conftest import Bucket


class Hours:
    """Time that passes only when somebody sleeps, and what happens meanwhile."""

    def __init__(self, meanwhile: Callable[[float], None] = lambda now: None) -> None:
        self.now = 0.0
        self.meanwhile = meanwhile
        self.clock = Clock(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile(self.now)


class Shelf:
    """A store of one object, which can be told to forget conditions, to fail or to hang."""

    endpoint, conditions = "https://store.example", "If-None-Match and If-Match"

    def __init__(self) -> None:
        self.data, self.version = b"", ABSENT
        self.written = 0
        self.before_put: Callable[[str], None] = lambda expected: None
        self.honours: Callable[[str | None], bool] = lambda expected: True
        self.before_delete: Callable[[], None] = lambda: None

    def put(self, bucket: str, key: str, data: IO[bytes], expected: str | None = None) -> str:
        self.before_put(expected or "")
        if expected != self.version and self.honours(expected):
            raise ConflictError(errno.EEXIST, "changed (412)")
        self.written += 1
        self.data, self.version = data.read(), f'"{self.written}"'
        return self.version

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> Stored:
        if not self.version:
            raise FileNotFoundError(errno.ENOENT, "gone")
        into.write(self.data)
        return Stored(self.version)

    def delete(self, bucket: str, key: str) -> None:
        self.before_delete()
        self.version = ABSENT


def at(place: Bucket | Shelf, owner: str, said: list[str] | None = None, clock: Clock | None = None) -> Lease:
    tell: Callable[[str], None] = (lambda what: None) if said is None else said.append
    if isinstance(place, Shelf):
        return Lease(LockObject(place, "bucket", "_lock", owner), tell, clock or Hours().clock)  # type: ignore[arg-type]
    objects = stores.bucket_store(place.path)._objects
    return Lease(LockObject(objects, *_split(f"{place.path}/_lock"), owner), tell, clock or Hours().clock)


def acquired(lock: Lease) -> Lease:
    lock.acquire()
    return lock
