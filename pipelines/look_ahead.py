"""Read images ahead of whoever takes them, so that fetching and decoding overlap with what he does."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial

from pipelines import storage
from pipelines.archives import Streams, is_streamed
from pipelines.decoding import Decode, DecodeSettings, decode_resized
from pipelines.engines import available_cores
from pipelines.isolation import DecoderPool
from pipelines.reading import Fetch, Limits, read_image
from pipelines.records import Failure, Image, ImageRef


class LookAhead:
    """A queue into which names go, and out of which images come in the same order."""

    def __init__(
        self, decoding: DecodeSettings, limits: Limits, reads_in_flight: int, threads: int | None = None
    ) -> None:
        """Start threads.

        Args:
          decoding: what the model takes.
          limits: what one image may cost.
          reads_in_flight: images that are fetched at the same time; twice as many are in the queue at most.
          threads: images that are decoded at the same time, by default one a core: more would only take these from the
            engine.
        """
        threads = threads or available_cores()
        self._limits = limits
        self._most = 2 * reads_in_flight
        self._queue: deque[Future[Image | Failure]] = deque()
        self._executor = ThreadPoolExecutor(reads_in_flight, thread_name_prefix="read")
        self._turn = _turn(threads)
        self._streams = Streams.borrow()
        self._streaming = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._decode: Decode = partial(decode_resized, settings=decoding)
        self._pool: DecoderPool | None = None
        if limits.isolated:
            self._pool = DecoderPool(decoding, limits.max_seconds, threads)
            self._decode = self._pool.decode

    def put(self, ref: ImageRef) -> Iterator[Image | Failure]:
        """Begin to read an image, and give back one that was put earlier once the queue is full."""
        reading = (ref, self._decode, self._limits.max_bytes, self._turn, self._fetch(ref))
        self._queue.append(self._executor.submit(read_image, *reading))
        if len(self._queue) > self._most:
            yield self._queue.popleft().result()

    def drain(self) -> Iterator[Image | Failure]:
        """Give back all that is left."""
        while self._queue:
            yield self._queue.popleft().result()

    def close(self) -> None:
        """End what is at work."""
        # What is still being fetched here is wanted by nobody any more.
        with storage.hurried():
            for executor in (self._executor, self._streaming):
                executor.shutdown(cancel_futures=True)
        self._streams.give_back()
        if self._pool:
            self._pool.close()

    def _fetch(self, ref: ImageRef) -> Fetch | None:
        if ref.span is None or not is_streamed(ref) or ref.size > self._limits.max_bytes:
            return None
        # One thread goes through a stream, in the order in which its members come.
        return self._streaming.submit(self._streams.read, ref).result


@cache
def _turn(threads: int) -> threading.Semaphore:
    """Share the turns to decode: some runners have a process work on several bundles, each with its own look-ahead."""
    return threading.Semaphore(threads)
