"""Locks in buckets, which have none of their own: objects that their holder renews while he lives.

Whether a holder lives is not told by clocks, which differ between machines: whoever finds a lock watches it, and it is
held as long as its version changes.
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
"""Without a renewal, after which a lock is nobody's: a holder survives that long a pause, or a storage out of order."""


@contextmanager
def lease(
    objects: Objects, bucket: str, key: str, owner: str, waiting: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Hold a lock, which is an object while it is held.

    Args:
      objects: of the bucket's provider.
      bucket: that holds the lock.
      key: of the lock.
      owner: what others are told who holds it.
      waiting: is told the owner of a lock that has to be watched.

    Yields:
      A function that has the lock left behind in the end: then it is nobody's only when it is deleted.

    Raises:
      LockedError: somebody else holds it, or has left it behind.
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
    """Read from a lock who holds it; nothing where it is no lock of ours."""
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
            # Only a lock that nobody has renewed for long is replaced, and only if it is still that very one.
            stale = watched != ABSENT and time.monotonic() - since >= STALE_SECONDS
            with suppress(ConflictError):
                if watched == ABSENT or stale:
                    self._version = patiently(lambda: self._put(watched))  # noqa: B023 - it is called here
                    return
            content, version = self._read()
            if self._token in content:
                # The attempt came through, and only its answer was lost.
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
            # Whether a storage out of order is back in time is seen at the next renewal.
            with suppress(OSError):
                if not self._renew():
                    return

    def _renew(self) -> bool:
        """Renew the lock; False where it is another's now: the commit looks whose it is, and goes no further."""
        try:
            self._version = self._put(self._version)
        except ConflictError:
            content, version = self._read()
            self._version = version
            return self._token in content
        return True

    def leave(self) -> None:
        """Leave the lock behind when it is released."""
        self._left = True

    def release(self) -> None:
        if self._left:
            # Were it another's by now, who it is that holds it would have to be told.
            self._version = patiently(lambda: self._put(self._version))
            return
        with suppress(OSError):
            content, _ = self._read()
            if self._token in content:
                self._objects.delete(self._bucket, self._key)

    def _put(self, expected: str) -> str:
        self._renewals += 1
        # The number makes every renewal another content, for where the version is a digest of it.
        content = {"owner": self._owner, "token": self._token, "renewals": self._renewals, "left": self._left}
        return self._objects.put(self._bucket, self._key, io.BytesIO(json.dumps(content).encode()), expected)

    def _read(self) -> tuple[str, str]:
        """Read content and version of the lock, whoever holds it; both empty where there is none."""
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
