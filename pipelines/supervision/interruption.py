"""Turn SIGINT and SIGTERM into a request that a local run meets between two images.

An exception in the middle of anything, which is what Python makes of Ctrl-C, could cut a commit in two.
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
    """A run that was asked to stop by a signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


@contextmanager
def deferred() -> Iterator[None]:
    """Take the first signal as a request that `check` meets, and the second one as an order to end at once."""
    if threading.current_thread() is not threading.main_thread():
        # Python hands signals to the main thread alone, and only it may say what becomes of them.
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
    """Go on, unless the run was asked to stop.

    Raises:
      InterruptedRunError: it was.
    """
    if _received:
        raise InterruptedRunError(_received[0])


def _receive(number: int, frame: FrameType | None) -> None:
    if _received:
        # Whatever is cut here, the next run of the same command puts right: it is no worse than SIGKILL.
        watchdog.dismiss()
        os._exit(128 + number)
    _received.append(number)
    os.write(2, b"\nscenetags: stopping after the current images; press Ctrl-C again to quit now\n")
