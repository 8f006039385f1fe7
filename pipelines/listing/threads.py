"""A pool of threads that nobody has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class UnawaitedPool:
    """A pool of threads that end with the process, even while they wait for a server.

    `ThreadPoolExecutor` would hold up the end of the process until the last request has been answered or given up,
    which is up to a minute after Ctrl-C.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Start the threads."""
        self._threads = threads
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}_{number}", daemon=True).start()

    def __enter__(self) -> UnawaitedPool:
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in range(self._threads):
            self._work.put(None)

    def submit(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Have a thread call a function; calls begin in the order in which they are submitted."""
        future: Future[Result] = Future()

        def call() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self._work.put(call)
        return future

    def _run(self) -> None:
        while call := self._work.get():
            call()
