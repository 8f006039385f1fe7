"""Go through several iterators at the same time, where each of them spends its time waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_THREADS = 8
_ITEMS_A_BATCH, _BATCHES_AHEAD = 1000, 10


def side_by_side(sources: Sequence[Iterator[Item]]) -> Iterator[Item]:
    """Give what iterators give, one after the other in their order, while threads go ahead in those that follow.

    So far ahead only: what nobody has taken yet is bounded. What an iterator raises is raised in its place.
    """
    queues: list[Queue[list[Item] | BaseException]] = [Queue(_BATCHES_AHEAD) for _ in sources]
    over = threading.Event()
    # The first in the order are begun first: whichever is waited for is at work or done.
    with ThreadPoolExecutor(min(_THREADS, max(1, len(sources))), thread_name_prefix="ahead") as executor:
        for source, queue in zip(sources, queues, strict=True):
            executor.submit(_go_ahead, source, queue, over)
        try:
            for queue in queues:
                while batch := queue.get():
                    if isinstance(batch, BaseException):
                        raise batch
                    yield from batch
        finally:
            over.set()


def _go_ahead(source: Iterator[Item], queue: Queue[list[Item] | BaseException], over: threading.Event) -> None:
    """Put what an iterator gives into a queue, with an empty batch at its end."""
    batch: list[Item] | BaseException = []
    while not over.is_set():
        try:
            batch = list(islice(source, _ITEMS_A_BATCH))
        except BaseException as error:
            batch = error
        while not over.is_set():
            try:
                queue.put(batch, timeout=0.1)
                break
            except Full:
                continue
        if not isinstance(batch, list) or not batch:
            return
