"""Consume several iterators concurrently, where each spends its time waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_THREADS = 8
_ITEMS_PER_BATCH, _BATCHES_AHEAD = 1000, 10


def side_by_side(sources: Sequence[Iterator[Item]]) -> Iterator[Item]:
    """Chain iterators in order, while threads prefetch from the later ones.

    Prefetching is bounded. An iterator's exception is raised in its place.
    """
    queues: list[Queue[list[Item] | BaseException]] = [Queue(_BATCHES_AHEAD) for _ in sources]
    over = threading.Event()
    # Started in order: the iterator being waited for is always running or done.
    with ThreadPoolExecutor(min(_THREADS, max(1, len(sources))), thread_name_prefix="ahead") as executor:
        for source, queue in zip(sources, queues, strict=True):
            executor.submit(_prefetch, source, queue, over)
        try:
            for queue in queues:
                while batch := queue.get():
                    if isinstance(batch, BaseException):
                        raise batch
                    yield from batch
        finally:
            over.set()


def _prefetch(source: Iterator[Item], queue: Queue[list[Item] | BaseException], over: threading.Event) -> None:
    """Put an iterator's items into a queue in batches, with an empty batch at the end."""
    batch: list[Item] | BaseException = []
    while not over.is_set():
        try:
            batch = list(islice(source, _ITEMS_PER_BATCH))
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
