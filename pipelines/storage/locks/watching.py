"""Wait for a lock of another process: it is watched to see whether its holder is alive.

Clocks, which differ between machines, do not decide that: the lock is held as long as its version changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from pipelines.storage.errors import LockedError
from pipelines.storage.locks.lock import Found, Lock
from pipelines.storage.objects import ABSENT
from pipelines.storage.patience import patiently

STALE_SECONDS = 30.0
"""Time without renewal after which a lock has expired: a holder survives a pause or a storage outage of this length."""


class Clock(NamedTuple):
    """What time it is, and how to let it pass; both in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Watched:
    """A lock, or its absence, and for how long it has been seen unchanged."""

    def __init__(self, lock: Found, clock: Clock) -> None:
        self.lock = lock
        self._clock = clock
        self._seen = clock.now()
        self._unchanged = 0.0

    def has_expired(self) -> bool:
        """Return whether the lock, which has just been seen unchanged, has expired."""
        now = self._clock.now()
        # Of a time in which this process was suspended or without storage, little counts: the holder may have been so,
        # too, and needs some seconds to renew the lock.
        self._unchanged += min(now - self._seen, STALE_SECONDS / 3)
        self._seen = now
        return self._unchanged >= STALE_SECONDS


def watch(lock: Lock, watched: Watched, found: Found, clock: Clock, tell: Callable[[str], None]) -> Watched:
    """Watch a lock of another process until it has gone or expired.

    Args:
      lock: to read.
      watched: what was known of it before.
      found: what it was just now.
      clock: by which it expires.
      tell: called with what is waited for.

    Returns:
      The lock, or its absence, as it was seen last.

    Raises:
      LockedError: it is held, or was left behind.
    """
    while found.version != ABSENT:
        if found.left or found.alive or watched.lock.version not in (ABSENT, found.version):
            raise LockedError(found.owner)
        if found.ended:
            return Watched(found, clock)
        if watched.lock.version == ABSENT:
            watched = Watched(found, clock)
            waiting = f"waiting {STALE_SECONDS:.0f} s to see whether it is still alive"
            tell(f"is locked by {found.owner or 'another run'}; {waiting}")
        elif watched.has_expired():
            return watched
        clock.sleep(min(1.0, STALE_SECONDS / 10))
        found = patiently(lock.read)
    return Watched(found, clock)
