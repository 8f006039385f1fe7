"""Read and tag a sample of images as the job does, and measure each step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pipelines.archives import Admit, is_streamed
from pipelines.images import ImageError, Resized
from pipelines.images.parts import Box
from pipelines.inference.ahead import IMAGES_PER_CALL, run_model
from pipelines.inference.engines import Engine
from pipelines.inference.predictor import Predictor
from pipelines.job.predicting import PredictSettings
from pipelines.reading.ahead import LookAhead
from pipelines.reading.parts import Parts
from pipelines.reading.source import ImageSource
from pipelines.reading.windows import Windows
from pipelines.records import Empty, Failure, File, Image, ImageRef, Prediction
from pipelines.scenes.grid import Grid
from pipelines.scenes.reading import ReadPart, Shown
from pipelines.scenes.scene import Scene
from pipelines.supervision import interruption

BATCH_SIZES = (8, 32, 128)
"""Tried if the engine processes a whole batch at once."""


@dataclass(frozen=True)
class BatchTrial:
    """Measurement of a batch size: seconds of the model per image."""

    batch_size: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """Outcomes and total costs of a sample of images.

    Attributes:
      predictions: of the images that could be tagged.
      failures: of the others.
      empty: number of windows with too little data.
      bytes: fetched.
      waiting: seconds until each was fetched, summed.
      fetching: core-seconds to fetch them.
      decoding: core-seconds to decode and resize them; seconds if decoding is isolated, because the core time of
        another process is not visible.
      model: core-seconds to run the model on them.
      model_waiting: seconds during which the model ran.
      trials: of batch sizes, if requested.
      other: predictions of the same images by a second engine, if there is one.
      model_of_other: core-seconds to run it on them.
    """

    predictions: tuple[Prediction, ...]
    failures: tuple[Failure, ...]
    empty: int
    bytes: int
    waiting: float
    fetching: float
    decoding: float
    model: float
    model_waiting: float
    trials: tuple[BatchTrial, ...] = ()
    other: tuple[Prediction, ...] = ()
    model_of_other: float = 0.0

    @property
    def count(self) -> int:
        """Number of images in the sample."""
        return len(self.predictions) + len(self.failures) + self.empty


def measure(
    refs: Sequence[ImageRef], predictor: Predictor, settings: PredictSettings, other: Predictor | None = None
) -> Sample:
    """Read and tag a sample in turn, so that the cost of each step is measured separately.

    Args:
      refs: of its images.
      predictor: that runs the model; for an engine that takes batches, their sizes are tried.
      settings: of the job.
      other: runs the model on the same images once more.
    """
    reads, batch_size = settings.reads_in_flight, settings.model.batch_size
    takes_batches = predictor.engine.takes_batches
    # Except for the largest trial, no more pixels are held than by the job itself.
    a_call = max(batch_size, *BATCH_SIZES) if takes_batches else IMAGES_PER_CALL
    at_once = max(2 * reads, a_call)
    own, *others = (_Running(one, batch_size) for one in (predictor, other) if one)
    source = _MeasuredSource(settings)
    trials: list[BatchTrial] = []
    without: list[Failure | Empty] = []
    with closing(LookAhead(source, reads)) as ahead:
        remaining = iter(refs)
        while some := list(islice(remaining, at_once)):
            read = list(ahead.read(some))
            images = [item for item in read if isinstance(item, Image)]
            without += (item for item in read if not isinstance(item, Image))
            if takes_batches and images and not trials:
                trials += _try_batch_sizes(predictor.engine, images)
            for running in (own, *others):
                running.run(images)
    return Sample(
        predictions=own.predictions,
        failures=(*(item for item in without if isinstance(item, Failure)), *own.failures),
        empty=sum(isinstance(item, Empty) for item in without),
        bytes=source.bytes,
        waiting=source.fetching.waited,
        fetching=source.fetching.worked,
        decoding=source.decoding.worked,
        model=own.clock.worked,
        model_waiting=own.clock.waited,
        trials=tuple(trials),
        other=others[0].predictions if others else (),
        model_of_other=others[0].clock.worked if others else 0.0,
    )


def _interruptible(images: Iterable[Image]) -> Iterator[Image]:
    for image in images:
        interruption.check()
        yield image


def _try_batch_sizes(engine: Engine, images: Sequence[Image]) -> Iterator[BatchTrial]:
    for size in sorted({min(size, len(images)) for size in BATCH_SIZES}):
        took = []
        # The first call with a size is slower: the engine prepares for it.
        for _ in range(2):
            interruption.check()
            began = time.perf_counter()
            Predictor(engine).predict(images[:size])
            took.append(time.perf_counter() - began)
        yield BatchTrial(size, min(took) / size)


@dataclass
class _Clock:
    """Accumulated seconds and core-seconds of pieces of work."""

    waited: float = 0.0
    worked: float = 0.0
    _adding: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def measured(self, work: Callable[[], float], share: float = 1.0) -> Iterator[None]:
        """Add the duration of the block, or a share of it; `work` returns the core-seconds of a thread or process."""
        began, work_began = time.perf_counter(), work()
        try:
            yield
        finally:
            waited, worked = time.perf_counter() - began, work() - work_began
            with self._adding:
                self.waited += share * waited
                self.worked += share * worked


class _Running:
    """A model that is run on images, and measured."""

    def __init__(self, predictor: Predictor, batch_size: int) -> None:
        self.clock = _Clock()
        self._predictor = predictor
        self._batch_size = batch_size
        self._done: list[Prediction | Failure] = []

    def run(self, images: Sequence[Image]) -> None:
        """Run the model on images."""
        with self.clock.measured(time.process_time):
            self._done += run_model(self._predictor, _interruptible(images), self._batch_size)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """Of the images so far."""
        return tuple(item for item in self._done if isinstance(item, Prediction))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Of the images so far, those that the engine could not run."""
        return tuple(item for item in self._done if isinstance(item, Failure))


class _MeasuredSource(ImageSource):
    """A source of images that measures fetching and decoding."""

    def __init__(self, settings: PredictSettings) -> None:
        self.fetching, self.decoding, self.bytes = _Clock(), _Clock(), 0
        self._counting = threading.Lock()
        super().__init__(settings.decoding, settings.limits, settings.model.threads, grid=settings.grid)
        self._place = ("", 0)
        if self.isolated:
            for _ in range(self.threads):
                # The first image starts the child process, which takes longer than decoding an image.
                with suppress(ImageError):
                    super().decode_bytes(b"")

    def fetch_bytes(self, ref: ImageRef, admit: Admit) -> bytes:
        with self.fetching.measured(time.thread_time, self._share(ref)):
            data = super().fetch_bytes(ref, admit)
        self.count(data)
        return data

    def count(self, data: bytes) -> None:
        """Count what was fetched."""
        with self._counting:
            self.bytes += len(data)

    def windows(self, grid: Grid) -> Windows:
        parts = _MeasuredParts(self, self._limits, self._budget, self._turn)
        return _MeasuredWindows(self, grid, self._decoding, parts)

    def decode_bytes(self, data: bytes) -> Resized:
        # Of another process only the seconds are visible.
        with self.decoding.measured(time.perf_counter if self.is_apart(data) else time.thread_time):
            return super().decode_bytes(data)

    def _share(self, ref: ImageRef) -> float:
        """Return the image's share of the time a fetch takes, excluding what precedes it in a stream."""
        if ref.place is None or not is_streamed(ref):
            return 1.0
        end = ref.place.start + ref.place.length
        archive, at = self._place
        passed = end - (at if archive == ref.place.archive else 0)
        self._place = (ref.place.archive, end)
        return ref.place.length / max(1, passed, ref.place.length)


class _MeasuredParts(Parts):
    """Parts of scenes, whose source measures fetching and decoding."""

    def __init__(self, source: _MeasuredSource, *settings: Any) -> None:
        super().__init__(*settings)
        self._source = source

    def fetch_bytes(self, file: File, start: int, length: int) -> bytes:
        with self._source.fetching.measured(time.thread_time):
            data = super().fetch_bytes(file, start, length)
        self._source.count(data)
        return data

    @contextmanager
    def decoding_of(self, scene: Scene) -> Iterator[None]:
        with super().decoding_of(scene), self._source.decoding.measured(time.thread_time):
            yield


class _MeasuredWindows(Windows):
    """Windows of scenes, whose source measures decoding."""

    def __init__(self, source: _MeasuredSource, *settings: Any) -> None:
        super().__init__(*settings)
        self._source = source

    def show(self, scene: Scene, box: Box, parts: Sequence[ReadPart]) -> Shown | None:
        with self._source.decoding.measured(time.thread_time):
            return super().show(scene, box, parts)
