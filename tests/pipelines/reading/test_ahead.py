"""Work ahead: in the order of the names, by as few threads as there are cores, and with nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.archives import Admit
from pipelines.images import DecodeSettings, Resized, decode_resized
from pipelines.images.limits import Limits
from pipelines.inference.ahead import IMAGES_PER_CALL
from pipelines.inference.predictor import Predictor
from pipelines.reading import ahead as reading_ahead
from pipelines.reading.ahead import LookAhead, PredictAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Failure, Image, ImageRef, Prediction
from pipelines.supervision.budget import Budget

DECODING = DecodeSettings(32, "bilinear")
THREADS = 2


class Noted(ImageSource):
    """A source that notes which thread decodes, and how many do at a time."""

    def __init__(self, capacity: int = 1 << 30) -> None:
        self.budget = Budget(capacity, 1 << 40)
        super().__init__(DECODING, Limits(), THREADS, self.budget)
        self.busy = Busy()

    def decode_bytes(self, data: bytes) -> Resized:
        with self.busy:
            return decode_resized(data, DECODING)


class Busy:
    """Counts the threads that are in its block."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.most = self._now = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


class Means:
    """An engine whose probabilities are those of a mean pixel; it takes images one by one."""

    name = "means"
    calls = THREADS
    takes_batches = False
    on_gpu = False

    def __init__(self, busy: Busy) -> None:
        self._busy = busy
        self.sizes: list[int] = []

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.sizes.append(len(pixels))
        with self._busy:
            return np.stack([image.mean(axis=(0, 1)) / 255 for image in pixels]).astype(np.float32)


@pytest.fixture(autouse=True)
def _in_time(in_time: None) -> None:
    """Fail where a test takes forever."""


@pytest.mark.parametrize("reads_in_flight", [1, 3, 32])
def test_results_come_in_the_order_of_the_names(refs: list[ImageRef], reads_in_flight: int) -> None:
    source = Noted()
    with closing(PredictAhead(source, reads_in_flight, Predictor(Means(source.busy)))) as ahead:
        found = list(ahead.read(refs))

    assert [item.path if isinstance(item, Failure) else item.ref.path for item in found] == [ref.path for ref in refs]
    assert [isinstance(item, Failure) for item in found] == [number % 7 == 0 for number in range(60)]
    for item in found:
        if isinstance(item, Prediction):
            mean = decode_resized(Path(item.ref.path).read_bytes(), DECODING).pixels.mean(axis=(0, 1)) / 255
            assert np.allclose(item.probabilities, mean)


def test_no_more_threads_than_cores_decode_and_run_the_model_and_the_same_do_both(refs: list[ImageRef]) -> None:
    source = Noted()
    engine = Means(Busy())
    with closing(PredictAhead(source, 32, Predictor(engine))) as ahead:
        list(ahead.read(refs * 4))

    assert source.busy.most <= THREADS
    assert engine._busy.threads == source.busy.threads
    assert len(source.busy.threads) <= THREADS
    assert max(engine.sizes) <= IMAGES_PER_CALL


def test_no_more_calls_wait_than_there_are_threads(refs: list[ImageRef], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a call per image, memory would grow with the images of a wave: a thread takes several at a time."""
    source, is_open = Noted(), threading.Event()

    def decode(data: bytes) -> Resized:
        assert is_open.wait(20)
        return decode_resized(data, DECODING)

    monkeypatch.setattr(source, "decode_bytes", decode)
    with closing(LookAhead(source, 32)) as ahead:
        for ref in refs:
            assert list(ahead.put(ref)) == []
        waiting = ahead._workers._executor._work_queue.qsize()
        is_open.set()
        assert len(list(ahead.drain())) == len(refs)
    assert waiting <= THREADS


def test_queues_side_by_side_share_the_processor(refs: list[ImageRef]) -> None:
    busy = Busy()
    sources = [Noted() for _ in range(3)]
    for source in sources:
        source.busy = busy

    def work(source: Noted) -> None:
        with closing(LookAhead(source, 8)) as ahead:
            list(ahead.read(refs))

    threads = [threading.Thread(target=work, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert busy.most <= THREADS


@pytest.mark.parametrize(("near", "expected"), [(1.0, "work"), (0.0, "fetch")], ids=["a near disk", "a far disk"])
def test_files_of_a_near_disk_are_fetched_where_they_are_decoded(
    refs: list[ImageRef], monkeypatch: pytest.MonkeyPatch, near: float, expected: str
) -> None:
    monkeypatch.setattr(reading_ahead, "_NEAR_SECONDS", near)
    source, threads = Noted(), list[str]()
    fetch_bytes = source.fetch_bytes

    def noted(ref: ImageRef, admit: Admit) -> bytes:
        threads.append(threading.current_thread().name.partition("_")[0])
        return fetch_bytes(ref, admit)

    monkeypatch.setattr(source, "fetch_bytes", noted)
    with closing(LookAhead(source, 4)) as ahead:
        list(ahead.read(refs))

    assert len(threads) == len(refs)
    assert set(threads[-1:]) == {expected}
    assert near == 0.0 or set(threads) == {"work"}


@pytest.mark.parametrize("some", [0, 1, 30])
def test_what_was_fetched_and_is_not_wanted_gives_its_memory_back(refs: list[ImageRef], some: int) -> None:
    source = Noted()
    with closing(LookAhead(source, 8)) as ahead:
        reading = ahead.read(refs)
        assert len([next(reading) for _ in range(some)]) == some
        for ref in refs[some:]:
            for item in ahead.put(ref):
                assert isinstance(item, Image | Failure)

    assert source.budget.take(1 << 30) == 1 << 30
    assert source.budget._free == 0


def test_with_one_thread_of_each_kind_every_image_is_read(
    refs: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may refuse more of them at any time."""
    monkeypatch.setattr(reading_ahead, "_NEAR_SECONDS", 0.0)
    start, started = threading.Thread.start, set[str]()

    def refuse(thread: threading.Thread) -> None:
        kind = thread.name.partition("_")[0]
        if threading.current_thread() is not threading.main_thread() and kind in started:
            raise RuntimeError("can't start new thread")
        started.add(kind)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with closing(LookAhead(Noted(), 4)) as ahead:
        assert len(list(ahead.read(refs))) == len(refs)
    assert started == {"fetch", "work"}


def test_an_error_of_ours_in_one_image_is_raised_where_its_result_is_due(
    refs: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Noted()

    def decode(data: bytes) -> Resized:
        raise ZeroDivisionError

    monkeypatch.setattr(source, "decode_bytes", decode)
    with closing(PredictAhead(source, 4, Predictor(Means(source.busy)))) as ahead:
        results = ahead.read(refs)
        assert isinstance(next(results), Failure)
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert source.budget._free == 1 << 30
