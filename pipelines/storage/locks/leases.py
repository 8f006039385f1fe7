"""Locks where none are built in, or not everybody sees them: objects and files that their holder renews while alive.

Every write of a lock has a condition, so that only one of two processes that write it at the same time succeeds.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pipelines.credentials import without_secrets
from pipelines.storage.errors import ConflictError, LockedError
from pipelines.storage.locks import watching
from pipelines.storage.locks.lock import Found, Lock
from pipelines.storage.locks.watching import Clock, Watched, watch
from pipelines.storage.objects import ABSENT
from pipelines.storage.patience import patiently

RENEWAL_SECONDS = 5.0
"""Time between two renewals."""
_WORRY_SECONDS, _REMINDER_SECONDS = 15.0, 60.0
"""Time without renewal after which its holder says so, and time between two such lines."""
_SECONDS_TO_END = 2.0
"""For renewals that are under way when a lock is released; one that hangs is not waited for any longer."""

_HANGING = 6
"""Renewals that may hang at the same time."""
_TRIES, _FIRST_PAUSE = 6, 0.1
"""Refused writes after which a lock is given up, and seconds after the first of them; each pause is twice as long."""


@contextmanager
def lease(
    lock: Lock, tell: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> Iterator[Callable[[], None]]:
    """Hold a lock: an object or a file that exists while the lock is held.

    Args:
      lock: which, and for whom.
      tell: called, from any thread, with what happens to the lock, e.g. "is locked by ...".
      sleep: called with seconds to pass while the lock of another process is watched; it may raise to give up.

    Yields:
      A function that leaves the lock behind on exit: it is then held until it is deleted.

    Raises:
      LockedError: another process holds the lock, or has left it behind.
      UnsupportedStorageError: the store does not honour the conditions of writes.
      OSError: the lock cannot be written.
    """
    held = Lease(lock, tell, Clock(sleep=sleep))
    held.acquire()
    over = threading.Event()
    renewing = threading.Thread(target=held.renew_until, args=(over,), name="lease", daemon=True)
    done = False
    try:
        _start(renewing)
        held.check_conditions()
        yield held.leave
        done = True
    finally:
        over.set()
        if renewing.is_alive():
            renewing.join(_SECONDS_TO_END)
        held.release(done)


class Lease:
    """A lock that has to be renewed."""

    def __init__(self, lock: Lock, tell: Callable[[str], None], clock: Clock | None = None) -> None:
        """Describe a lock that is not held yet.

        Args:
          lock: the object or file.
          tell: see `lease`.
          clock: by default the system's.
        """
        self._lock = lock
        self._tell = tell
        self._clock = clock or Clock()
        self._version = ABSENT
        self._renewed = self._clock.now()
        self._told: float | None = None
        self._trouble = "no answer"
        self._over = False
        self._left = False

    def acquire(self) -> None:
        """Write the lock, once it is certain that nobody else holds it.

        Raises:
          LockedError: another process holds the lock, or has left it behind.
          UnsupportedStorageError: the store refuses to write the lock, although nobody holds it.
          OSError: the lock cannot be written.
        """
        watched = Watched(Found(), self._clock)
        for attempt in range(_TRIES):
            # Only an expired lock is replaced, and only if it has not changed since.
            found = self._write_or_read(watched.lock.version)
            if found.ours:
                self._version, self._renewed, self._trouble = found.version, self._clock.now(), "no answer"
                return
            self._clock.sleep(_FIRST_PAUSE * 2**attempt)
            watched = watch(self._lock, watched, found, self._clock, self._say)
        raise self._lock.unsupported(f"rejects every write of the lock as a conflict ({self._trouble})")

    def check_conditions(self) -> None:
        """Make sure that the store honours the conditions of writes: otherwise two processes could hold one lock.

        Raises:
          UnsupportedStorageError: it writes whatever the condition, or does not replace what it has written.
          OSError: the lock cannot be written.
        """
        for expected in (ABSENT, _another(self._version)):
            # Twice: the first may succeed rightly if this process was suspended for so long that it lost the lock.
            for _ in range(2):
                try:
                    self._version = patiently(lambda: self._lock.write(expected))  # noqa: B023 - called here
                except ConflictError:
                    break
            else:
                raise self._lock.unsupported("does not honour conditional writes")
        try:
            with suppress(ConflictError):
                self._version = patiently(lambda: self._lock.write(self._version))
        except PermissionError as error:
            raise self._lock.unsupported(f"does not let the lock be renewed ({_reason(error)})") from error

    def renew_until(self, over: threading.Event) -> None:
        """Renew the lock every few seconds, whatever happens, until it is over or another process holds the lock."""
        attempts: list[threading.Thread] = []
        while not (over.wait(RENEWAL_SECONDS) or self._over):
            attempts = [attempt for attempt in attempts if attempt.is_alive()]
            # An attempt that hangs, e.g. in a name server, must not keep the next one from succeeding.
            if len(attempts) < _HANGING:
                attempt = threading.Thread(target=self.renew, name="lease renewal", daemon=True)
                try:
                    attempt.start()
                    attempts.append(attempt)
                except (RuntimeError, MemoryError) as error:
                    self._trouble = _reason(error)
            self.voice_worries()
        # One that arrives after the deletion would write the lock again, where the store does not check it in one step.
        for attempt in attempts:
            attempt.join(_SECONDS_TO_END / _HANGING)

    def renew(self) -> None:
        """Try once to renew the lock; the next attempt shows whether what went wrong has passed."""
        try:
            taker = self._renew()
        except Exception as error:
            # Credentials, TLS, memory: a renewal that ends with any of them ends the lock.
            self._trouble = _reason(error)
            return
        if self._over:
            # It was released, or lost, while this attempt was under way.
            return
        if taker is not None:
            self._over = True
            self._say(
                f"was taken over by {taker.owner or 'another run, which has ended'}: this run commits nothing more"
            )
            return
        self._renewed, self._trouble = self._clock.now(), "no answer"
        if self._told is not None:
            self._told = None
            self._say("is renewed again")

    def voice_worries(self) -> None:
        """Say now and then that the lock has not been renewed for some time."""
        now = self._clock.now()
        reminded = self._told is None or now - self._told >= _REMINDER_SECONDS
        if now - self._renewed >= _WORRY_SECONDS and reminded:
            self._told = now
            self._say(f"has not been renewed for {now - self._renewed:.0f} s ({self._trouble}); still trying")

    def leave(self) -> None:
        """Leave the lock behind on release."""
        self._left = True

    def release(self, done: bool) -> None:
        """Delete the lock, or leave it behind, unless another process holds it now.

        Args:
          done: whether the work is, so that it is worth a line if the lock cannot be deleted.
        """
        self._over = True
        if self._left:
            # Errors are not suppressed: if another process held the lock by now, that must be reported.
            if (taker := patiently(self._renew)) is not None:
                raise LockedError(f"the lock was taken over by {taker.owner or 'another run'}")
            return
        try:
            patiently(self._delete_if_ours)
        except Exception as error:
            if done:
                seconds = f"{watching.STALE_SECONDS:.0f} s"
                self._say(f"cannot be removed ({_reason(error)}): the next run will wait {seconds} for it")

    def _say(self, what: str) -> None:
        # Its reader may have gone, e.g. from the other end of a pipe, and the lock must be renewed all the same.
        with suppress(Exception):
            self._tell(what)

    def _delete_if_ours(self) -> None:
        # Looked at before each attempt: after one whose response was lost, another process may hold the lock.
        if self._lock.read().ours:
            with suppress(FileNotFoundError):
                self._lock.delete()

    def _write_or_read(self, expected: str) -> Found:
        """Write the lock if it has the expected version; otherwise return the one that is there."""
        try:
            return Found(patiently(lambda: self._lock.write(expected)), ours=True)
        except ConflictError as refusal:
            self._trouble = _reason(refusal)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                raise self._lock.unsupported(f"rejects conditional writes ({_reason(error)})") from error
            raise
        # It is ours if an earlier attempt succeeded, and only its response was lost.
        return patiently(self._lock.read)

    def _renew(self) -> Found | None:
        """Renew the lock; return None, or the lock of another process if that holds it now."""
        for _ in range(2):
            expected = self._version
            try:
                self._version = self._lock.write(expected, self._left)
                return None
            except ConflictError as refusal:
                found = self._lock.read()
                if found.version != ABSENT and not found.owner:
                    raise OSError(errno.EIO, "it reads back as something else") from refusal
                if not found.ours:
                    return found
                if found.version == expected:
                    raise OSError(refusal.errno, f"refused, although it is unchanged: {refusal.strerror}") from refusal
                # An earlier write succeeded, and only its response was lost or is late.
                self._version = found.version
        return None


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error


def _another(version: str) -> str:
    """Return a version of the same form that no object has."""
    return version.translate(str.maketrans("0123456789", "1234567890"))


def _reason(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(without_secrets(said).split()) or type(error).__name__
