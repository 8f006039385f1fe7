"""Read images ahead of the step that consumes them, so that fetching and decoding overlap with its work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from pipelines import storage
from pipelines.reading.source import Refusal, Source
from pipelines.records import Empty, Failure, Image, ImageRef, failed
from pipelines.supervision import interruption
from pipelines.supervision.interruption import InterruptedRunError

_SECONDS_BETWEEN_LOOKS = 0.5
"""While an image is waited for, between looks at whether the run was asked to stop."""


class LookAhead:
    """A queue that takes names and yields their images in the same order.

    Once the run is asked to stop, it yields what is finished in time and postpones the rest.

    Attributes:
      postponed: images that were neither read nor refused.
    """

    def __init__(self, source: Source, reads_in_flight: int) -> None:
        """Start the threads.

        Args:
          source: of the images; closed together with the queue.
          reads_in_flight: images fetched concurrently; the queue holds at most twice as many.
        """
        self.postponed = 0
        self._source = source
        self._most = 2 * reads_in_flight
        self._queue: deque[Future[Image | Failure | Empty]] = deque()
        self._executor = ThreadPoolExecutor(reads_in_flight, thread_name_prefix="read")

    def put(self, ref: ImageRef) -> Iterator[Image | Failure | Empty]:
        """Begin to read an image; once the queue is full, yield one that was put earlier."""
        self._source.expect(ref)
        self._queue.append(self._executor.submit(self._read, ref))
        if len(self._queue) > self._most:
            yield from self._next()

    def drain(self) -> Iterator[Image | Failure | Empty]:
        """Yield the remaining images."""
        while self._queue:
            yield from self._next()

    def read(self, refs: Iterable[ImageRef]) -> Iterator[Image | Failure | Empty]:
        """Read images and yield them in their order."""
        for ref in refs:
            yield from self.put(ref)
        yield from self.drain()

    def close(self) -> None:
        """Abandon reads in progress and close the source."""
        with storage.hurried():
            self._executor.shutdown(wait=not interruption.overdue(), cancel_futures=True)
        self._source.close()

    def _next(self) -> Iterator[Image | Failure | Empty]:
        reading = self._queue.popleft()
        while not reading.done() and not interruption.overdue():
            wait((reading,), _SECONDS_BETWEEN_LOOKS)
        try:
            if reading.done():
                yield reading.result()
                return
        except InterruptedRunError:
            pass
        self.postponed += 1

    def _read(self, ref: ImageRef) -> Image | Failure | Empty:
        interruption.check()
        read = self._source.read(ref)
        if isinstance(read, Refusal):
            return failed(ref, read.stage, read.error, read.message)
        return Empty(ref) if read is None else Image(ref, *read)
