"""Turn the signals that ask a process to stop into a request that a local run honours between two images.

Python turns Ctrl-C into an exception at an arbitrary point, which could interrupt a commit halfway. Other signals would
kill the process, and what it has finished since its last commit would be lost.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from pipelines.errors import ScenetagsError
from pipelines.supervision import watchdog

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MORE_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""From terminals that close, and from schedulers whose job has little time left; a job elsewhere outlives them."""
SECONDS_BETWEEN_LOOKS = 0.5
"""For who waits, between looks at whether the run was asked to stop."""
_SECONDS_BETWEEN_TRIES = 0.05
"""Between two looks at whether an import is over that Ctrl-C would disturb."""
_IMPORTING = "<frozen importlib._bootstrap>"
"""Where the code is that Python runs while it imports a module."""
SECONDS_TO_FINISH = 5.0
"""Given to images in progress: containers get 10 s from SIGTERM to SIGKILL, and the commit needs some of them."""

_received: list[int] = []
_received_at = 0.0
_announce: Callable[[str], None] | None = None


class InterruptedRunError(ScenetagsError):
    """A run that a signal asked to stop."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


@contextmanager
def deferred(announce: Callable[[str], None] | None = None) -> Iterator[None]:
    """Treat the first signal as a request that `check` honours, and the second as an order to quit immediately.

    Args:
      announce: called with a message, from within a signal handler.
    """
    global _announce
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only, and only it may set their handlers.
        yield
        return
    _received.clear()
    _announce = announce
    try:
        with _received_from(SIGNALS):
            yield
    finally:
        _received.clear()


@contextmanager
def more_deferred() -> Iterator[None]:
    """Within `deferred`, treat the signals of terminals and schedulers likewise; SIGQUIT is an order to quit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _received_from((*MORE_SIGNALS, signal.SIGQUIT)):
        yield


@contextmanager
def _received_from(signals: Sequence[signal.Signals]) -> Iterator[None]:
    # One that is ignored stays so: `nohup` has its reasons.
    heeded = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _receive) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def raised_between_imports() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt`, as Python does, but not in the middle of an import.

    Compiled modules that import others there swallow it, or leave half a module and a lock for which other threads then
    wait for ever.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) != signal.default_int_handler
    ):
        yield
        return
    # A timer, since the signal may have come while this thread starts another, and holds the locks that this needs.
    alarm = signal.signal(signal.SIGALRM, _raise_unless_importing)
    signal.signal(signal.SIGINT, _raise_unless_importing)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, alarm)


def _raise_unless_importing(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_TRIES)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def asked() -> bool:
    """Return whether the run was asked to stop."""
    return bool(_received)


def received() -> tuple[int, float] | None:
    """Return the signal that asked the run to stop, and when, by the monotonic clock; None if it was not asked."""
    return (_received[0], _received_at) if _received else None


def pass_on(number: int, at: float) -> None:
    """Ask this process to stop because of a signal that another process has received, at this time."""
    global _received_at
    _received_at = at
    _received.append(number)


def overdue() -> bool:
    """Return whether the run was asked to stop so long ago that what is in progress is abandoned."""
    return bool(_received) and time.monotonic() - _received_at > SECONDS_TO_FINISH


def leave_if_overdue(code: int) -> None:
    """Leave the process with this exit code if something may still be in progress: Python would wait for its thread."""
    if overdue():
        sys.stdout.flush()
        os._exit(code)


def check() -> None:
    """Raise an error if the run was asked to stop.

    Raises:
      InterruptedRunError: it was.
    """
    if _received:
        raise InterruptedRunError(_received[0])


def sleep(seconds: float) -> None:
    """Let time pass.

    Raises:
      InterruptedRunError: the run was asked to stop.
    """
    check()
    time.sleep(seconds)
    check()


def _receive(number: int, frame: FrameType | None) -> None:
    global _received_at
    if _received and number == signal.SIGXCPU:
        # Beyond its soft limit, a process gets one for each second that it uses; and children pass theirs on.
        return
    if _received or number == signal.SIGQUIT:
        # The next run of the same command repairs whatever this interrupts: it is no worse than SIGKILL.
        watchdog.dismiss()
        os._exit(128 + number)
    _received_at = time.monotonic()
    _received.append(number)
    if _announce:
        _announce("finishing what is in progress; press Ctrl-C again to quit now")
