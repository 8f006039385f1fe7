"""Look up files of this machine one by one, or side by side where each takes long, as on a network disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from pipelines.listing.lookup import refer_all
from pipelines.listing.threads import UnawaitedPool
from pipelines.records import Listed

_THREADS = 16
_SLOW_SECONDS = 2e-4
"""A look-up takes some microseconds where the system knows the answer, and a thread to do it 20."""
_SLOW_ONES = 32


class Pace:
    """Whether look-ups take long; one that waits for once does not count.

    Attributes:
      slow: whether they do.
    """

    def __init__(self) -> None:
        """Begin with nothing known."""
        self.slow = False
        self._slow_ones = 0

    def look_up(self, look: Callable[[str], Listed], path: str) -> Listed:
        """Look up a file, and see how long it takes."""
        began = time.perf_counter()
        listed = look(path)
        if time.perf_counter() - began < _SLOW_SECONDS:
            self._slow_ones = max(0, self._slow_ones - 1)
        else:
            self._slow_ones += 1
            self.slow = self._slow_ones >= _SLOW_ONES
        return listed


def refer_each(found: Iterator[Listed | str]) -> Iterator[Listed]:
    """Look up the files whose paths are found, and pass on everything else, in order."""
    pace = Pace()
    for file in found:
        yield pace.look_up(refer_all, file) if isinstance(file, str) else file
        if pace.slow:
            yield from _refer_side_by_side(found)


def _refer_side_by_side(found: Iterator[Listed | str]) -> Iterator[Listed]:
    with UnawaitedPool(_THREADS, "stat") as pool:
        ahead: deque[Listed | Future[Listed]] = deque()
        for file in found:
            ahead.append(pool.submit(refer_all, file) if isinstance(file, str) else file)
            if len(ahead) > 4 * _THREADS:
                yield _result(ahead.popleft())
        yield from map(_result, ahead)


def _result(listed: Listed | Future[Listed]) -> Listed:
    return listed.result() if isinstance(listed, Future) else listed
