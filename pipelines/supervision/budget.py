"""Share out the memory of a process among the images that its threads fetch and decode."""

from __future__ import annotations

import threading
from collections import deque
from functools import cache

from pipelines.supervision.machine import available_cores, return_freed_memory, usable_memory

_PARTS = 4
"""The budget is one part in so many of the memory that may be used: the model, Arrow and Beam need the others."""
LARGE = 1 << 25
"""Bytes of memory from which an image is large: so much that it matters how much of it the C library keeps."""


class MustWaitError(Exception):
    """There is too little memory now for an image, and a thread that does not wait for it."""


class Budget:
    """Bytes that may be held at a time, granted in the order in which they are asked for.

    An image asks once, for everything it will need, and holds nothing while it waits. So nobody waits in a circle.
    """

    def __init__(self, capacity: int, memory: int) -> None:
        """Begin with all bytes free.

        Args:
          capacity: bytes that are granted at a time. An image that needs more gets them alone.
          memory: bytes that may be used at all, by whatever.
        """
        self.capacity = capacity
        self.memory = memory
        self._free = capacity
        self._kept = 0
        self._waiting: deque[tuple[int, threading.Event]] = deque()
        self._lock = threading.Lock()

    def take(self, wanted: int, wait: bool = True) -> int:
        """Wait until so many bytes are free, or all if there are never so many; return how many were taken.

        Raises:
          MustWaitError: they are not free, and the caller does not wait.
        """
        taken = min(wanted, self.capacity)
        with self._lock:
            if taken <= self._free and not self._waiting:
                self._free -= taken
                return taken
            if not wait:
                raise MustWaitError
            granted = threading.Event()
            self._waiting.append((taken, granted))
        granted.wait()
        return taken

    def give_back(self, taken: int) -> None:
        """Free bytes that were taken, and grant what others wait for."""
        if taken >= LARGE:
            self._return_freed(taken)
        with self._lock:
            self._free += taken
            while self._waiting and self._waiting[0][0] <= self._free:
                wanted, granted = self._waiting.popleft()
                self._free -= wanted
                granted.set()

    def _return_freed(self, freed: int) -> None:
        """Keep the C library from keeping more than half of the budget; it is not worth the time for every image."""
        with self._lock:
            self._kept += freed
            due = self._kept > self.capacity // 2
            if due:
                self._kept = 0
        if due:
            return_freed_memory()


class Allowance:
    """What one image has of a budget; a context manager that gives it back."""

    def __init__(self, budget: Budget, waits: bool = True) -> None:
        """Begin with nothing; `waits` is whether to wait for what is not free."""
        self.budget = budget
        self.taken = 0
        self._waits = waits

    def __enter__(self) -> Allowance:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self, wanted: int) -> None:
        """Give back what there is, and wait for these bytes instead.

        Raises:
          MustWaitError: they are not free, and this allowance does not wait.
        """
        self.give_back()
        self.taken = self.budget.take(wanted, self._waits)

    def give_back(self) -> None:
        """Give back everything."""
        taken, self.taken = self.taken, 0
        if taken:
            self.budget.give_back(taken)


@cache
def process_budget(threads: int, processes: int = 1) -> Budget:
    """Return the budget that all sources of this process share: some runners give it several Beam bundles at once.

    Args:
      threads: images decoded concurrently. A process that uses only some of the cores shares the machine with
        others, and gets the same share of the memory.
      processes: known to be at work, with as many threads each; together they get no more than one would.
    """
    memory, cores = usable_memory(), available_cores()
    return Budget(max(1, memory // _PARTS * min(threads * processes, cores) // (cores * processes)), memory)
