"""Consume several iterators concurrently, where each spends its time waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from queue import Empty, Full, Queue
from typing import TypeVar

from pipelines.listing.threads import UnawaitedPool
from pipelines.supervision import interruption

Item = TypeVar("Item")

_THREADS = 8
_ITEMS_PER_BATCH, _BATCHES_AHEAD = 1000, 10
_SECONDS_BETWEEN_CHECKS = 0.1


def side_by_side(sources: Sequence[Iterator[Item]]) -> Iterator[Item]:
    """Chain iterators in order, while threads prefetch from the later ones.

    Prefetching is bounded. An iterator's exception is raised in its place.

    Raises:
      InterruptedRunError: the run was asked to stop; whatever the threads are waiting for is not waited for.
    """
    queues: list[Queue[list[Item] | BaseException]] = [Queue(_BATCHES_AHEAD) for _ in sources]
    over = threading.Event()
    # Started in order: the iterator being waited for is always running or done.
    with UnawaitedPool(min(_THREADS, len(sources)), "ahead") as pool:
        for source, queue in zip(sources, queues, strict=True):
            pool.submit(_prefetch, source, queue, over)
        try:
            for queue in queues:
                while batch := _get(queue):
                    if isinstance(batch, BaseException):
                        raise batch
                    yield from batch
        finally:
            over.set()


def _get(queue: Queue[Item]) -> Item:
    while True:
        interruption.check()
        try:
            return queue.get(timeout=_SECONDS_BETWEEN_CHECKS)
        except Empty:
            continue


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
                queue.put(batch, timeout=_SECONDS_BETWEEN_CHECKS)
                break
            except Full:
                continue
        if not isinstance(batch, list) or not batch:
            return
