"""Read images and run the model on them in child processes of this one, each with its share of the cores.

Python runs one thread at a time, so one process keeps only so many cores busy. Names of images go to the children, and
predictions come back; pixels stay where they were decoded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

from pipelines.images.isolation import block_signals
from pipelines.inference.ahead import IMAGES_PER_CALL
from pipelines.job.child import Child, Chunk, ProcessDiedError
from pipelines.job.predictor_process import Answer, Settings, Stop
from pipelines.reading.queues import Queue
from pipelines.reading.source import stream_of
from pipelines.records import Empty, Failure, ImageRef, Prediction
from pipelines.supervision import interruption, watchdog

_AT_ONCE = 32
"""Images that a child is sent at once: so many that messages cost little, so few that no child waits for another."""
_BATCHES = 6
"""That a child has begun if its engine takes batches: two at work, three that wait, and one that is being filled. For
other engines that many more names wait, which costs little."""
_STREAMS = 10_000
"""Archives and parts of scenes of which it is remembered which child reads them."""
_SECONDS_TO_ANSWER = 1.0
"""Of those that a run has to finish, left to a child to send what it has finished."""


class Processes:
    """Child processes that read images and run the model on them."""

    def __init__(self, settings: Settings, threads: Sequence[int]) -> None:
        """Prepare the children, which start when there is an image for them.

        Args:
          settings: of each child, but for the threads of its model.
          threads: of each child.
        """
        # The kernel kills a child when the thread that started it ends, so none of the callers' threads may do it.
        self._starter = ThreadPoolExecutor(1, "processes", block_signals)
        self._settings = settings
        self._threads = threads
        self._children: list[Child] = []
        self._streams: OrderedDict[str, Child] = OrderedDict()
        self._choosing = threading.Lock()
        # More than the children begin to work on at once, so that none of them ever waits for names.
        predicting = settings.predicting
        held = 4 * predicting.reads_in_flight + _BATCHES * predicting.model.batch_size + _AT_ONCE
        self.most = sum(held + 2 * IMAGES_PER_CALL * count for count in threads)

    def choose(self, stream: str | None) -> Child:
        """Return the child for an image: that which reads its stream already, or else the one with least to do.

        Raises:
          ProcessDiedError: the system refuses to start one.
        """
        with self._choosing:
            if not self._children:
                self._start()
            child = self._streams.pop(stream, None) if stream else None
            child = child or min(self._children, key=lambda child: child.images)
            if stream:
                self._streams[stream] = child
                if len(self._streams) > _STREAMS:
                    self._streams.popitem(last=False)
            return child

    def _start(self) -> None:
        try:
            predicting = self._settings.predicting
            for count in self._threads:
                own = replace(predicting, model=replace(predicting.model, threads=count))
                self._children.append(Child(self._settings._replace(predicting=own), self._starter))
        except OSError as error:
            raise ProcessDiedError(
                f"the system refuses to start another process ({error.strerror or error})", "lower --processes"
            ) from error

    def heed_signals(self) -> None:
        """Ask the children to stop if the run was asked to."""
        if received := interruption.received():
            number, at = received
            for child in self._children:
                child.stop(Stop(number, at - _SECONDS_TO_ANSWER))

    def close(self) -> None:
        """End the children, whatever they do."""
        for child in self._children:
            child.end()
        self._starter.shutdown()


class PredictInProcesses(Queue[Prediction]):
    """A queue that takes names and yields the predictions for their images, as the queues of its children do."""

    def __init__(self, processes: Processes) -> None:
        """Begin with an empty queue; `processes` do the work, and stay open."""
        self.postponed = 0
        self._processes = processes
        self._queue: deque[Chunk] = deque()
        self._images = 0
        self._open: Chunk | None = None

    @property
    def is_full(self) -> bool:
        """Whether so many images are ahead that no more should begin before the next results are taken."""
        return self._images > self._processes.most

    @property
    def is_empty(self) -> bool:
        """Whether no image is ahead."""
        return not self._queue

    def begin(self, ref: ImageRef) -> None:
        """Begin to work on an image."""
        stream = stream_of(ref)
        child = self._processes.choose(stream) if stream else None
        if self._open and (len(self._open.refs) == _AT_ONCE or child not in (None, self._open.child)):
            self._send()
        if self._open is None:
            self._open = Chunk(child or self._processes.choose(None))
            self._queue.append(self._open)
        self._open.refs.append(ref)
        self._images += 1

    def drain(self) -> Iterator[Prediction | Failure | Empty]:
        """Yield the remaining results."""
        self._send()
        yield from super().drain()

    def close(self) -> None:
        """Let go of what is in the queue; the children are ended by what started them."""
        self._queue.clear()

    def _send(self) -> None:
        if self._open:
            self._open.child.work_on(self._open)
            self._open = None

    def next(self) -> Iterator[Prediction | Failure | Empty]:
        """Wait for the results of the oldest images that are ahead, and yield those that are not postponed."""
        chunk = self._queue.popleft()
        self._processes.heed_signals()
        while not chunk.answer.done() and not interruption.overdue():
            wait((chunk.answer,), interruption.SECONDS_BETWEEN_LOOKS)
            self._processes.heed_signals()
        self._images -= len(chunk.refs)
        answer = chunk.answer.result() if chunk.answer.done() else Answer((), len(chunk.refs))
        self.postponed += answer.postponed
        yield from answer.results


_at_work: Processes | None = None


@contextmanager
def in_processes(settings: Settings, threads: Sequence[int]) -> Iterator[None]:
    """Have the steps of this process read and predict in children; the arguments are those of `Processes`.

    Steps look the children up, as they do the meter of a run: they are copied, and the children outlive a wave.
    """
    global _at_work
    processes = Processes(settings, threads)
    watchdog.decode_apart()
    _at_work = processes
    try:
        yield
    finally:
        _at_work = None
        processes.close()


def share_out(threads: int, processes: int) -> list[int]:
    """Return the threads of each process."""
    return [threads // processes + (number < threads % processes) for number in range(processes)]


def at_work() -> Processes | None:
    """Return the children that read and predict for this process, if there are any."""
    return _at_work
