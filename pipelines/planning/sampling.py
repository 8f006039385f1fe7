"""Read some images and run the model on them as the job does, and measure what each step takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import TracebackType

from pipelines import interruption
from pipelines.archives import Streams, is_streamed
from pipelines.decoding import Decode, DecodeSettings, Refusal, decode_resized
from pipelines.engines import Engine, available_cores
from pipelines.images import Resized
from pipelines.inference import IMAGES_A_CALL, run_model
from pipelines.isolation import DecoderPool
from pipelines.reading import Fetch, Limits, fetch_image, read_image
from pipelines.records import Failure, Image, ImageRef, Prediction
from pipelines.tagging import Predictor

BATCH_SIZES = (8, 32, 128)
"""That are tried out where the engine works on a whole batch at once."""


@dataclass(frozen=True)
class BatchTrial:
    """What a size of a batch is worth: seconds that the model takes for an image."""

    batch_size: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """What came of some images, and what they took in all.

    Attributes:
      predictions: of those that could be tagged.
      failures: of the others.
      bytes: that were fetched.
      waiting: seconds until they were fetched, added up.
      fetching: core-seconds to fetch them.
      decoding: core-seconds to decode and resize them; where that is isolated, seconds, for of another process no more
        can be seen.
      model: core-seconds to run the model on them.
      model_waiting: seconds in which the model ran.
      trials: of sizes of a batch, where they were wanted.
    """

    predictions: tuple[Prediction, ...]
    failures: tuple[Failure, ...]
    bytes: int
    waiting: float
    fetching: float
    decoding: float
    model: float
    model_waiting: float
    trials: tuple[BatchTrial, ...] = ()

    @property
    def count(self) -> int:
        """Images in it."""
        return len(self.predictions) + len(self.failures)


def measure(
    refs: Sequence[ImageRef],
    engine: Engine,
    decoding: DecodeSettings,
    limits: Limits,
    reads_in_flight: int,
    batch_size: int,
    trials: bool = False,
) -> Sample:
    """Read images, then run the model on them: one after the other, so that each is known to have cost what it did.

    Args:
      refs: the images.
      engine: that runs the model.
      decoding: what the model takes.
      limits: what one image may cost.
      reads_in_flight: images that are fetched at the same time.
      batch_size: images given to the engine together.
      trials: whether to find out what other sizes of a batch are worth.
    """
    running, tried = _Clock(), list[BatchTrial]()
    predictor = Predictor(engine)
    # No more pixels are held than the job itself would hold, but for the largest trial.
    a_call = batch_size if engine.takes_batches else IMAGES_A_CALL
    at_once = max(2 * reads_in_flight, a_call, *(BATCH_SIZES if trials else ()))
    done: list[Prediction | Failure] = []
    with _Reader(decoding, limits, reads_in_flight) as reader:
        remaining = iter(refs)
        while some := list(islice(remaining, at_once)):
            read = reader.read(some)
            done += (item for item in read if isinstance(item, Failure))
            images = [item for item in read if isinstance(item, Image)]
            if trials and images and not tried:
                tried += _try_batch_sizes(engine, images)
            with running.measured(time.process_time):
                done += run_model(predictor, _interruptible(images), batch_size)
    return Sample(
        tuple(item for item in done if isinstance(item, Prediction)),
        tuple(item for item in done if isinstance(item, Failure)),
        *(reader.bytes, reader.fetching.waited, reader.fetching.worked, reader.decoding.worked),
        *(running.worked, running.waited, tuple(tried)),
    )


def _interruptible(images: Iterable[Image]) -> Iterator[Image]:
    for image in images:
        interruption.check()
        yield image


def _try_batch_sizes(engine: Engine, images: Sequence[Image]) -> Iterator[BatchTrial]:
    for size in sorted({min(size, len(images)) for size in BATCH_SIZES}):
        took = []
        # The first of a size is slower: the engine prepares itself for it.
        for _ in range(2):
            interruption.check()
            began = time.perf_counter()
            Predictor(engine).predict(images[:size])
            took.append(time.perf_counter() - began)
        yield BatchTrial(size, min(took) / size)


@dataclass
class _Clock:
    """Seconds that pieces of work took, and core-seconds of those who did it."""

    waited: float = 0.0
    worked: float = 0.0
    _adding: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def measured(self, work: Callable[[], float], share: float = 1.0) -> Iterator[None]:
        """Add what is done to the seconds, or a share of it; `work` tells the core-seconds of a thread or process."""
        began, work_began = time.perf_counter(), work()
        try:
            yield
        finally:
            waited, worked = time.perf_counter() - began, work() - work_began
            with self._adding:
                self.waited += share * waited
                self.worked += share * worked


class _Reader:
    """Read images with the threads of a `LookAhead`, and with an eye on the clock."""

    def __init__(self, decoding: DecodeSettings, limits: Limits, reads_in_flight: int) -> None:
        self.fetching, self.decoding, self.bytes = _Clock(), _Clock(), 0
        self._max_bytes = limits.max_bytes
        self._executor = ThreadPoolExecutor(reads_in_flight, thread_name_prefix="read")
        self._turn = threading.Semaphore(available_cores())
        self._counting = threading.Lock()
        self._stream = _Stream(self.fetching)
        self._decode: Decode = partial(decode_resized, settings=decoding)
        self._pool: DecoderPool | None = None
        if limits.isolated:
            self._pool = DecoderPool(decoding, limits.max_seconds, available_cores())
            self._decode = self._pool.decode
            for _ in range(available_cores()):
                # Its first image starts a child, which takes longer than an image does.
                self._decode(b"")

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._executor.shutdown(cancel_futures=True)
        self._stream.close()
        if self._pool:
            self._pool.close()

    def read(self, refs: Sequence[ImageRef]) -> list[Image | Failure]:
        """Read images, and give them back in their order."""
        return list(self._executor.map(self._read, refs, [self._fetch(ref) for ref in refs]))

    def _read(self, ref: ImageRef, fetch: Fetch) -> Image | Failure:
        return read_image(ref, self._decode_measured, self._max_bytes, self._turn, partial(self._counted, fetch))

    def _fetch(self, ref: ImageRef) -> Fetch:
        if is_streamed(ref) and ref.size <= self._max_bytes:
            return self._stream.begin(ref)
        return partial(self._fetch_measured, ref)

    def _fetch_measured(self, ref: ImageRef) -> bytes:
        with self.fetching.measured(time.thread_time):
            return fetch_image(ref, self._max_bytes)

    def _counted(self, fetch: Fetch) -> bytes:
        data = fetch()
        with self._counting:
            self.bytes += len(data)
        return data

    def _decode_measured(self, data: bytes) -> Resized | Refusal:
        with self.decoding.measured(time.perf_counter if self._pool else time.thread_time):
            return self._decode(data)


class _Stream:
    """One thread that goes through compressed archives, in the order in which their members come."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._streams = Streams()
        self._place = ("", 0)

    def begin(self, ref: ImageRef) -> Fetch:
        """Begin to fetch a member, and give what waits for it."""
        return self._executor.submit(self._read, ref).result

    def close(self) -> None:
        """End what is at work."""
        self._executor.shutdown(cancel_futures=True)
        self._streams.close()

    def _read(self, ref: ImageRef) -> bytes:
        assert ref.span
        end = ref.span.start + ref.span.length
        archive, place = self._place
        passed = end - (place if archive == ref.span.archive else 0)
        self._place = (ref.span.archive, end)
        # What lies between two members of the sample is no cost of theirs.
        with self._clock.measured(time.thread_time, ref.span.length / max(1, passed, ref.span.length)):
            return self._streams.read(ref)
