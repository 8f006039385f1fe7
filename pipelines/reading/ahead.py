"""Read images ahead of the step that takes them, so that fetching and decoding overlap with what that step does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from pipelines import storage
from pipelines.reading.source import Refusal, Source
from pipelines.records import Failure, Image, ImageRef


class LookAhead:
    """A queue into which names go, and out of which images come in the same order."""

    def __init__(self, source: Source, reads_in_flight: int) -> None:
        """Start threads.

        Args:
          source: of the images; it is closed with the queue.
          reads_in_flight: images that are fetched at the same time; twice as many are in the queue at most.
        """
        self._source = source
        self._most = 2 * reads_in_flight
        self._queue: deque[Future[Image | Failure]] = deque()
        self._executor = ThreadPoolExecutor(reads_in_flight, thread_name_prefix="read")

    def put(self, ref: ImageRef) -> Iterator[Image | Failure]:
        """Begin to read an image, and give back one that was put earlier once the queue is full."""
        self._source.expect(ref)
        self._queue.append(self._executor.submit(self._read, ref))
        if len(self._queue) > self._most:
            yield self._queue.popleft().result()

    def drain(self) -> Iterator[Image | Failure]:
        """Give back all that is left."""
        while self._queue:
            yield self._queue.popleft().result()

    def read(self, refs: Iterable[ImageRef]) -> Iterator[Image | Failure]:
        """Read images, and give them back in their order."""
        for ref in refs:
            yield from self.put(ref)
        yield from self.drain()

    def close(self) -> None:
        """End what is at work."""
        with storage.hurried():
            self._executor.shutdown(cancel_futures=True)
        self._source.close()

    def _read(self, ref: ImageRef) -> Image | Failure:
        read = self._source.read(ref)
        if isinstance(read, Refusal):
            return Failure(ref.path, read.stage, read.error, read.message, ref.fingerprint)
        return Image(ref, *read)
