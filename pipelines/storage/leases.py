"""Locks in buckets, which have no native ones: objects that their holder renews while it is alive.

Whether a holder is alive is not decided by clocks, which differ between machines: a process that finds a lock watches
it, and the lock is held as long as its version changes.
"""

from __future__ import annotations

import io
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from pipelines.storage.errors import ConflictError, LockedError
from pipelines.storage.objects import ABSENT, Objects
from pipelines.storage.patience import patiently

RENEWAL_SECONDS = 5.0
STALE_SECONDS = 30.0
"""Time without renewal after which a lock has expired: a holder survives a pause or a storage outage of this length."""


@contextmanager
def lease(
    objects: Objects, bucket: str, key: str, owner: str, waiting: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Hold a lock: an object that exists while the lock is held.

    Args:
      objects: the bucket's provider.
      bucket: that contains the lock.
      key: of the lock.
      owner: description of the holder, shown to others that want the lock.
      waiting: called with the owner of an existing lock when it has to be watched.

    Yields:
      A function that leaves the lock behind on exit: it is then held until it is deleted.

    Raises:
      LockedError: another process holds the lock, or has left it behind.
      OSError: the lock cannot be written.
    """
    held = _Lease(objects, bucket, key, owner)
    held.acquire(waiting)
    over = threading.Event()
    renewing = threading.Thread(target=held.renew_until, args=(over,), name="lease", daemon=True)
    renewing.start()
    try:
        yield held.leave
    finally:
        over.set()
        renewing.join()
        held.release()


def read_owner(data: bytes) -> str:
    """Return the owner named in a lock's content; empty if the content is not a lock of ours."""
    return str(_described(data).get("owner", ""))


class _Lease:
    def __init__(self, objects: Objects, bucket: str, key: str, owner: str) -> None:
        self._objects = objects
        self._bucket = bucket
        self._key = key
        self._owner = owner
        self._token = uuid.uuid4().hex
        self._renewals = 0
        self._version = ABSENT
        self._left = False

    def acquire(self, waiting: Callable[[str], None]) -> None:
        watched, since = ABSENT, 0.0
        while True:
            # Only an expired lock is replaced, and only if it has not changed since.
            stale = watched != ABSENT and time.monotonic() - since >= STALE_SECONDS
            with suppress(ConflictError):
                if watched == ABSENT or stale:
                    self._version = patiently(lambda: self._put(watched))  # noqa: B023 - called within this iteration
                    return
            content, version = self._read()
            if self._token in content:
                # The write succeeded, and only its response was lost.
                self._version = version
                return
            if _described(content.encode()).get("left"):
                raise LockedError(read_owner(content.encode()))
            if version == ABSENT:
                watched = ABSENT
            elif watched == ABSENT:
                watched, since = version, time.monotonic()
                waiting(read_owner(content.encode()))
            elif version != watched:
                raise LockedError(read_owner(content.encode()))
            if version != ABSENT:
                time.sleep(min(1.0, STALE_SECONDS / 10))

    def renew_until(self, over: threading.Event) -> None:
        while not over.wait(RENEWAL_SECONDS):
            # If storage is down, the next renewal shows whether it is back in time.
            with suppress(OSError):
                if not self._renew():
                    return

    def _renew(self) -> bool:
        """Renew the lock; return False if another process holds it now: the commit checks the owner and stops."""
        try:
            self._version = self._put(self._version)
        except ConflictError:
            content, version = self._read()
            self._version = version
            return self._token in content
        return True

    def leave(self) -> None:
        """Leave the lock behind on release."""
        self._left = True

    def release(self) -> None:
        if self._left:
            # Errors are not suppressed: if another process held the lock by now, that must be reported.
            self._version = patiently(lambda: self._put(self._version))
            return
        with suppress(OSError):
            patiently(self._delete)

    def _delete(self) -> None:
        # Looked at before each attempt: after one whose response was lost, another process may hold the lock.
        content, _ = self._read()
        if self._token in content:
            self._objects.delete(self._bucket, self._key)

    def _put(self, expected: str) -> str:
        self._renewals += 1
        # The counter makes every renewal's content different, because a version may be a digest of the content.
        content = {"owner": self._owner, "token": self._token, "renewals": self._renewals, "left": self._left}
        return self._objects.put(self._bucket, self._key, io.BytesIO(json.dumps(content).encode()), expected)

    def _read(self) -> tuple[str, str]:
        """Return the content and version of the lock, whichever process holds it; both are empty if there is none."""
        content = io.BytesIO()

        def get() -> str:
            content.seek(0)
            content.truncate()
            return self._objects.get(self._bucket, self._key, content)

        try:
            version = patiently(get)
        except FileNotFoundError:
            return "", ABSENT
        return content.getvalue().decode(errors="replace"), version


def _described(data: bytes) -> Mapping[str, Any]:
    try:
        described = json.loads(data)
    except ValueError:
        return {}
    return described if isinstance(described, dict) else {}
