"""Work on images ahead of the step that consumes them, so that fetching overlaps with the work of the processor."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache
from typing import TypeVar

from pipelines import storage
from pipelines.images import Resized
from pipelines.inference.ahead import IMAGES_PER_CALL
from pipelines.inference.predictor import Predictor
from pipelines.reading.crew import Crew
from pipelines.reading.fetched import Fetched, Refusal
from pipelines.reading.queues import Queue, Result
from pipelines.reading.source import Source
from pipelines.reading.windows import WindowPixels
from pipelines.records import Empty, Failure, Image, ImageRef, Prediction, failed
from pipelines.supervision import interruption
from pipelines.supervision.budget import MustWaitError
from pipelines.supervision.interruption import InterruptedRunError

Done = TypeVar("Done")

_Pending = Future[Result | Failure | Empty]
"""What becomes of an image."""

_NEAR_SECONDS, _AVERAGED = 0.002, 16
"""A small file of this machine takes a twentieth of this to read. If files take more on average, their disk is far, and
each is worth a thread that waits for it. For near ones, handing them on would take 4 % of the time of a job."""


class _Ahead(Queue[Result]):
    """A queue that takes names and yields what becomes of their images, in the same order.

    Many threads fetch what is far away, since they mostly wait. Only as many as there are cores do what needs the
    processor: each takes a few images, fetches those that are near, decodes all, and finishes them. So no two of them
    compete for a core, and pixels are used where they were made.

    Attributes:
      at_once: images that a thread takes in a row, if there are as many.
    """

    at_once = 1

    def __init__(self, source: Source, reads_in_flight: int) -> None:
        """Start the threads.

        Args:
          source: of the images; closed together with the queue.
          reads_in_flight: images fetched concurrently; at most twice as many wait to be decoded.
        """
        self.postponed = 0
        self._source = source
        self._most = 2 * reads_in_flight + self.at_once * source.threads
        self._queue: deque[_Pending[Result]] = deque()
        self._seconds = 0.0
        self._turn = _turns_at_processor(source.threads)
        self._fetchers: Crew[tuple[_Pending[Result], ImageRef]] = Crew(reads_in_flight, "fetch", self._fetch_ahead)
        self._workers: Crew[tuple[_Pending[Result], Fetched | ImageRef]] = Crew(
            source.threads, "work", self._work_on_a_few
        )

    @abstractmethod
    def finish(self, images: Sequence[Image]) -> Sequence[Result | Failure]:
        """Turn images into results, one each, in their order."""

    @property
    def is_full(self) -> bool:
        """Whether so many images are ahead that no more should begin before the next result is taken."""
        return len(self._queue) > self._most

    @property
    def is_empty(self) -> bool:
        """Whether no image is ahead."""
        return not self._queue

    def begin(self, ref: ImageRef) -> None:
        """Begin to work on an image."""
        self._source.expect(ref)
        result: _Pending[Result] = Future()
        self._queue.append(result)
        if self._source.is_near(ref) and self._seconds < _NEAR_SECONDS:
            self._workers.put((result, ref))
        else:
            self._fetchers.put((result, ref))

    def next(self) -> Iterator[Result | Failure | Empty]:
        """Wait for the result of the oldest image that is ahead, and yield it unless the image is postponed."""
        result = self._queue.popleft()
        while not result.done() and not interruption.overdue():
            wait((result,), interruption.SECONDS_BETWEEN_LOOKS)
        try:
            if result.done():
                yield result.result()
                return
        except InterruptedRunError:
            pass
        self.postponed += 1

    def close(self) -> None:
        """Abandon work in progress and close the source."""
        with storage.hurried(interruption.asked()):
            self._fetchers.dismiss(wait=not interruption.overdue())
        for _, waiting in self._workers.dismiss(wait=not interruption.overdue()):
            if not isinstance(waiting, ImageRef):
                waiting.let_go()
        self._source.close()

    def _fetch_ahead(self) -> None:
        try:
            result, ref = self._fetchers.waiting.popleft()
        except IndexError:
            return
        fetched = self._settle(ref, result, lambda: self._source.fetch(ref))
        if fetched:
            with suppress(RuntimeError):
                self._workers.put((result, fetched))

    def _work_on_a_few(self) -> None:
        with self._turn:
            decoded = [(result, image) for result, waiting in self._take() if (image := self._decode(result, waiting))]
            try:
                finished = self.finish([image for _, image in decoded]) if decoded else []
                settled = list(zip(decoded, finished, strict=True))
            except BaseException as error:
                # The consumer would wait forever for a missing result.
                for result, _ in decoded:
                    result.set_exception(error)
                return
            for (result, _), item in settled:
                result.set_result(item)

    def _take(self) -> Iterator[tuple[_Pending[Result], Fetched | ImageRef]]:
        waiting = self._workers.waiting
        # So few that nobody else is left without.
        for _ in range(max(1, min(self.at_once, len(waiting) // self._source.threads))):
            try:
                yield waiting.popleft()
            except IndexError:
                return

    def _decode(self, result: _Pending[Result], waiting: Fetched | ImageRef) -> Image | None:
        fetched = self._fetch_here(waiting, result) if isinstance(waiting, ImageRef) else waiting
        if fetched is None:
            return None
        try:
            # mypy joins the two kinds of pixels to a plain tuple.
            read: Resized | WindowPixels | None = self._settle(fetched.ref, result, fetched.decode)  # type: ignore[assignment]
        finally:
            fetched.let_go()
        return Image(fetched.ref, *read) if read else None

    def _fetch_here(self, ref: ImageRef, result: _Pending[Result]) -> Fetched | None:
        """Fetch an image where it is decoded, unless it has to wait for memory that others need this thread to free."""
        began = time.perf_counter()
        try:
            return self._settle(ref, result, lambda: self._source.fetch(ref, waits=False))
        except MustWaitError:
            with suppress(RuntimeError):
                self._fetchers.put((result, ref))
            return None
        finally:
            self._seconds += (time.perf_counter() - began - self._seconds) / _AVERAGED

    def _settle(
        self, ref: ImageRef, result: _Pending[Result], work: Callable[[], Done | Refusal | None]
    ) -> Done | None:
        """Do some of the work on an image; return None if that settles what becomes of it."""
        try:
            interruption.check()
            done = work()
        except MustWaitError:
            raise
        except BaseException as error:
            result.set_exception(error)
            return None
        if done is None:
            result.set_result(Empty(ref))
        elif isinstance(done, Refusal):
            result.set_result(failed(ref, *done))
        else:
            return done
        return None


class LookAhead(_Ahead[Image]):
    """A queue that takes names and yields their images, at a model's size, in the same order."""

    def finish(self, images: Sequence[Image]) -> Sequence[Image]:
        """Return the images."""
        return images


class PredictAhead(_Ahead[Prediction]):
    """A queue that takes names and yields the predictions for their images in the same order.

    For an engine that takes images one by one.
    """

    def __init__(self, source: Source, reads_in_flight: int, predictor: Predictor) -> None:
        """Start the threads; `source` and `reads_in_flight` are those of `LookAhead`."""
        # What another process decodes is in no cache of this core, and one that hangs then holds up no other image.
        self.at_once = 1 if source.isolated else IMAGES_PER_CALL
        super().__init__(source, reads_in_flight)
        self._predictor = predictor

    def finish(self, images: Sequence[Image]) -> Sequence[Prediction | Failure]:
        """Run the model on the images."""
        return self._predictor.predict(images)


@cache
def _turns_at_processor(threads: int) -> threading.Semaphore:
    """Limit how many threads of a process work on images, in however many queues.

    Some runners give a process several Beam bundles at once, each with a queue of its own.
    """
    return threading.Semaphore(threads)
