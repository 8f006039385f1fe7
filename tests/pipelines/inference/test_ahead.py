"""Predictions that come in the order of the images, from an engine that is never without work."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.inference.ahead import IMAGES_PER_CALL, InferenceAhead, run_model
from pipelines.inference.predictor import Predictor
from pipelines.records import Failure, Image, ImageRef, Prediction


class WatchedEngine:
    """Answers each image with its first sample, fails on 13, and keeps count of its calls."""

    name = "watched"
    on_gpu = False

    def __init__(self, calls: int = 1, takes_batches: bool = False, seconds: float = 0.0) -> None:
        self.calls = calls
        self.takes_batches = takes_batches
        self.sizes: list[int] = []
        self.most_at_once = 0
        self._seconds = seconds
        self._at_once = 0
        self._lock = threading.Lock()

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with self._lock:
            self.sizes.append(len(pixels))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self._seconds)
        with self._lock:
            self._at_once -= 1
        values = np.asarray(pixels)[:, 0, 0, 0]
        if 13 in values:
            raise RuntimeError("kernel failed")
        return (values / np.float32(255))[:, np.newaxis].astype(np.float32)


def image(value: int) -> Image:
    ref = ImageRef(f"{value}.jpg", 1, f"print {value}")
    return Image(ref, 2, 2, "png 3x8", (), np.full((2, 2, 3), value, np.uint8))


def paths(results: Collection[Prediction | Failure]) -> list[str]:
    return [item.path if isinstance(item, Failure) else item.ref.path for item in results]


@pytest.fixture
def ahead() -> Iterator[InferenceAhead]:
    made = InferenceAhead(Predictor(WatchedEngine(calls=2)), batch_size=8)
    yield made
    made.close()


@given(
    count=st.integers(0, 60),
    calls=st.integers(1, 4),
    takes_batches=st.booleans(),
    batch_size=st.integers(1, 9),
    drains=st.sets(st.integers(0, 60)),
)
def test_every_image_has_one_answer_in_its_place(
    count: int, calls: int, takes_batches: bool, batch_size: int, drains: set[int]
) -> None:
    engine = WatchedEngine(calls, takes_batches)
    ahead = InferenceAhead(Predictor(engine), batch_size)
    results: list[Prediction | Failure] = []
    for number in range(count):
        results += ahead.put(image(number))
        if number in drains:
            results += ahead.drain()
    results += ahead.drain()
    ahead.close()

    assert paths(results) == [f"{number}.jpg" for number in range(count)]
    assert [item.path for item in results if isinstance(item, Failure)] == ["13.jpg"] * (count > 13)
    assert all(
        item.probabilities == np.float32(int(item.ref.path[:-4]) / 255)
        for item in results
        if isinstance(item, Prediction)
    )
    assert max(engine.sizes, default=0) <= (batch_size if takes_batches else IMAGES_PER_CALL)


@pytest.mark.parametrize("fills", [True, False])
def test_batches_are_filled_up_where_rows_are_written(fills: bool) -> None:
    engine = WatchedEngine(takes_batches=True)
    images = [image(number) for number in range(10)]
    if fills:
        ahead = InferenceAhead(Predictor(engine), 4)
        results = [item for one in images for item in ahead.put(one)] + list(ahead.drain())
        ahead.close()
    else:
        results = list(run_model(Predictor(engine), images, 4))

    assert paths(results) == [f"{number}.jpg" for number in range(10)]
    assert engine.sizes == [4, 4, 4 if fills else 2]


def test_an_engine_is_called_as_often_at_once_as_it_says() -> None:
    engine = WatchedEngine(calls=3, seconds=0.01)
    ahead = InferenceAhead(Predictor(engine), 1)
    results = [item for number in range(200) for item in ahead.put(image(number))]
    results += ahead.drain()
    ahead.close()

    assert len(results) == 200
    assert engine.most_at_once == 3


def test_no_more_than_a_few_batches_wait(ahead: InferenceAhead) -> None:
    given_back = sum(len(list(ahead.put(image(number)))) for number in range(200))

    assert 200 - given_back <= (2 * 2 + 1) * IMAGES_PER_CALL, (
        "images pile up in memory before an engine that is slower than the reading"
    )


def test_an_engine_at_work_is_not_waited_for() -> None:
    next_image_is_read = threading.Event()

    class PatientEngine(WatchedEngine):
        def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
            assert next_image_is_read.wait(20), "the next image is not read before the engine has done with this one"
            return super().predict(pixels)

    ahead = InferenceAhead(Predictor(PatientEngine(takes_batches=True)), 1)
    assert list(ahead.put(image(1))) == []
    next_image_is_read.set()
    assert paths(list(ahead.drain())) == ["1.jpg"]
    ahead.close()
