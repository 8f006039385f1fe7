"""Run a bundle's model on images, ahead of whoever takes what it says about them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

from pipelines import storage
from pipelines.inference.bundle import BundleError, load_bundle
from pipelines.inference.engines import open_engine
from pipelines.inference.tagging import Predictor
from pipelines.records import Failure, Image, Prediction

IMAGES_A_CALL = 8
"""Of an engine that takes images one by one: a thread that changes between the model and other work after each image
loses what the processor holds of either, about 3 % of the time."""

_CALLS_AHEAD = 2
"""Calls at work or waiting, for each that the engine takes at the same time, so that it never waits for a next one."""

_loading = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A bundle's model, and how it is to be run.

    Attributes:
      path: the bundle's folder.
      digest: of the bundle that the job was started with; a worker refuses any other.
      engine: one of `engines.ENGINES`.
      batch_size: images given to an engine together, where that makes it faster.
      threads: images that an engine which takes them one by one works on at the same time; by default one a core of the
        machine that it is loaded on.
      access: how buckets are reached.
    """

    path: str
    digest: str
    engine: str = "auto"
    batch_size: int = 32
    threads: int | None = None
    access: storage.Access = field(default_factory=storage.Access)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")

    def load(self) -> Predictor:
        """Open the engine, or take the one that this process has open.

        Raises:
          BundleError: the bundle is damaged, refused by the engine, or another one than `digest` names.
        """
        storage.use(self.access)
        with _loading:
            return _load(self.path, self.digest, self.engine, self.threads)


class InferenceAhead:
    """A queue into which images go, and out of which predictions come in the same order.

    The engine is never without work while images come in. Beam's `RunInference` gives it a batch, and the next one only
    when the predictions of this one have gone all the way to the output: on 16 cores a quarter of the time.
    """

    def __init__(self, predictor: Predictor, batch_size: int) -> None:
        """Start a thread for each call that the engine takes at the same time."""
        engine = predictor.engine
        self._predictor = predictor
        self._size = batch_size if engine.takes_batches else IMAGES_A_CALL
        self._most = _CALLS_AHEAD * engine.calls
        self._executor = ThreadPoolExecutor(engine.calls, thread_name_prefix="model")
        self._batch: list[Image] = []
        self._queue: deque[Future[list[Prediction | Failure]]] = deque()

    def put(self, image: Image) -> Iterator[Prediction | Failure]:
        """Take an image, and give back what is known of earlier ones once the queue is full."""
        self._batch.append(image)
        if len(self._batch) >= self._size:
            self._submit()
        while len(self._queue) > self._most:
            yield from self._queue.popleft().result()

    def drain(self) -> Iterator[Prediction | Failure]:
        """Give back all that is left."""
        if self._batch:
            self._submit()
        while self._queue:
            yield from self._queue.popleft().result()

    def close(self) -> None:
        """End what is at work."""
        self._executor.shutdown(cancel_futures=True)

    def _submit(self) -> None:
        self._queue.append(self._executor.submit(self._predictor.predict, self._batch))
        self._batch = []


def run_model(
    predictor: Predictor, images: Iterable[Image], batch_size: int = Model.batch_size
) -> Iterator[Prediction | Failure]:
    """Run a model on images, as many at a time as its engine takes; what it says comes in their order."""
    ahead = InferenceAhead(predictor, batch_size)
    try:
        for image in images:
            yield from ahead.put(image)
        yield from ahead.drain()
    finally:
        ahead.close()


@lru_cache(maxsize=1)
def _load(path: str, digest: str, engine: str, threads: int | None) -> Predictor:
    """Load a bundle's engine, once in a process: the waves of a local run share it, and what it has learned."""
    bundle = load_bundle(path)
    if bundle.digest != digest:
        raise BundleError(f"bundle {path} was replaced after the job was started")
    return Predictor(open_engine(bundle, engine, threads))
