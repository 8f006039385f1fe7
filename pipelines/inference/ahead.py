"""Run a bundle's model on images, ahead of the step that consumes the predictions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache

from pipelines.inference import BATCH_SIZE
from pipelines.inference.bundle import BundleError, load_bundle
from pipelines.inference.engines import open_engine
from pipelines.inference.predictor import Predictor
from pipelines.records import Failure, Image, Prediction
from pipelines.supervision import interruption

IMAGES_PER_CALL = 8
"""Images per call of an engine that takes them one by one: a thread that alternates between the model and other work
after each image loses the processor's caches, which costs about 3 % of the time."""

_CALLS_AHEAD = 2
"""Calls running or waiting per concurrent call of the engine, so that the engine never waits for the next one."""

_loading = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A bundle's model, and how to run it.

    Attributes:
      path: the bundle's folder.
      digest: of the bundle that the job was started with; workers refuse any other.
      engine: one of `ENGINES`.
      batch_size: images per call of an engine that is faster with batches.
      threads: concurrent images of an engine that takes them one by one; by default one per core of the machine that
        loads it.
      embeds: whether it also embeds images.
      precision: one of `PRECISIONS`.
    """

    path: str
    digest: str
    engine: str = "auto"
    batch_size: int = BATCH_SIZE
    threads: int | None = None
    embeds: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")

    def load(self) -> Predictor:
        """Open the engine, or return the one that is already open in this process.

        Raises:
          BundleError: the bundle is damaged, refused by the engine, or not the one that `digest` names.
        """
        with _loading:
            return _load(self.path, self.digest, self.engine, self.threads, self.embeds, self.precision)


class InferenceAhead:
    """A queue that takes images and yields their predictions in the same order.

    The engine always has work while images come in. Beam's `RunInference` gives it the next batch only when the
    predictions of the previous one have reached the output: on 16 cores, a quarter of the time.

    Attributes:
      postponed: images whose batches took longer than a run that was asked to stop may take.
    """

    def __init__(self, predictor: Predictor, batch_size: int, fills: bool = True) -> None:
        """Start a thread per concurrent call of the engine.

        Args:
          predictor: that runs the model.
          batch_size: images per call of an engine that is faster with batches.
          fills: whether batches of such an engine are filled up, as `Predictor.predict` says.
        """
        self.postponed = 0
        engine = predictor.engine
        self._predictor = predictor
        self._size = batch_size if engine.takes_batches else IMAGES_PER_CALL
        self._at_once = batch_size if engine.takes_batches and fills else 1
        self._most = _CALLS_AHEAD * engine.calls
        self._executor = ThreadPoolExecutor(engine.calls, thread_name_prefix="model")
        self._batch: list[Image] = []
        self._queue: deque[tuple[int, Future[list[Prediction | Failure]]]] = deque()

    def put(self, image: Image) -> Iterator[Prediction | Failure]:
        """Take an image; once the queue is full, yield the results for earlier ones."""
        self._batch.append(image)
        if len(self._batch) >= self._size:
            self._submit()
        while len(self._queue) > self._most:
            yield from self._next()

    def drain(self) -> Iterator[Prediction | Failure]:
        """Yield the remaining results."""
        if self._batch:
            self._submit()
        while self._queue:
            yield from self._next()

    @property
    def is_empty(self) -> bool:
        """Whether no image waits for its prediction, and no prediction to be yielded."""
        return not (self._batch or self._queue)

    def close(self) -> None:
        """Abandon calls that have not started."""
        self._executor.shutdown(wait=not interruption.overdue(), cancel_futures=True)

    def _submit(self) -> None:
        call = self._executor.submit(self._predictor.predict, self._batch, self._at_once)
        self._queue.append((len(self._batch), call))
        self._batch = []

    def _next(self) -> Iterator[Prediction | Failure]:
        count, call = self._queue.popleft()
        while not call.done() and not interruption.overdue():
            wait((call,), interruption.SECONDS_BETWEEN_LOOKS)
        if call.done():
            yield from call.result()
        else:
            self.postponed += count


def run_model(
    predictor: Predictor, images: Iterable[Image], batch_size: int = BATCH_SIZE
) -> Iterator[Prediction | Failure]:
    """Run a model on images, with as much concurrency as its engine takes; yield the results in their order.

    No batch is filled up: that would cost time, and none of these results is written.
    """
    ahead = InferenceAhead(predictor, batch_size, fills=False)
    try:
        for image in images:
            yield from ahead.put(image)
        yield from ahead.drain()
    finally:
        ahead.close()


@lru_cache(maxsize=1)
def _load(path: str, digest: str, engine: str, threads: int | None, embeds: bool, precision: str) -> Predictor:
    """Load a bundle's engine once per process: the waves of a local run share it, and what it has learned."""
    bundle = load_bundle(path)
    if bundle.digest != digest:
        raise BundleError(f"bundle {path} was replaced after the job was started")
    opened = open_engine(bundle, engine, threads, embeds, precision)
    return Predictor(opened, embeds, measures=bundle.reference is not None)
