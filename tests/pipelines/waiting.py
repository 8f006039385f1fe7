"""Wait for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(happened: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() - begun < 60, "it never happened"
        time.sleep(0.001)
