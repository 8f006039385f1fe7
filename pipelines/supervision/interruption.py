"""Turn SIGINT and SIGTERM into a request that a local run honours between two images.

Python turns Ctrl-C into an exception at an arbitrary point, which could interrupt a commit halfway.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipelines.errors import ScenetagsError
from pipelines.supervision import watchdog

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received: list[int] = []


class InterruptedRunError(ScenetagsError):
    """A run that a signal asked to stop."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


@contextmanager
def deferred() -> Iterator[None]:
    """Treat the first signal as a request that `check` honours, and the second as an order to quit immediately."""
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only, and only it may set their handlers.
        yield
        return
    before = {number: signal.signal(number, _receive) for number in SIGNALS}
    _received.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def check() -> None:
    """Raise an error if the run was asked to stop.

    Raises:
      InterruptedRunError: it was.
    """
    if _received:
        raise InterruptedRunError(_received[0])


def _receive(number: int, frame: FrameType | None) -> None:
    if _received:
        # The next run of the same command repairs whatever this interrupts: it is no worse than SIGKILL.
        watchdog.dismiss()
        os._exit(128 + number)
    _received.append(number)
    os.write(2, b"\nscenetags: stopping after the current images; press Ctrl-C again to quit now\n")
