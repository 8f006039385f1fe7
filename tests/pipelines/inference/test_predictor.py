"""Failures that stay single, and memory that does not suffice."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.inference.predictor import Predictor
from pipelines.records import Failure, Image, ImageRef, Prediction


class FakeEngine:
    """Answers each image with its first sample, and fails on batches that hold a forbidden one."""

    name = "fake"
    calls = 1
    takes_batches = True
    on_gpu = False

    def __init__(self, forbidden: int = -1, not_finite: int = -1, scale: float = 1.0) -> None:
        self.forbidden = forbidden
        self.not_finite = not_finite
        self.scale = scale
        self.calls = 0

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.calls += 1
        first = np.asarray(pixels)[:, 0, 0, 0]
        if self.forbidden in first:
            raise RuntimeError("kernel failed")
        return np.where(first == self.not_finite, np.nan, self.scale * first / 255).astype(np.float32)[:, np.newaxis]


def image(value: int) -> Image:
    ref = ImageRef(f"{value}.jpg", 1, f"print {value}")
    return Image(ref, 2, 2, "png 3x8", (), np.full((2, 2, 3), value, np.uint8))


def test_one_failing_image_costs_no_other() -> None:
    images = [image(value) for value in range(200)]
    engine = FakeEngine(forbidden=77)

    results = list(Predictor(engine).predict(images))

    assert [result.ref.path for result in results if isinstance(result, Prediction)] == [
        f"{value}.jpg" for value in range(200) if value != 77
    ]
    assert [result for result in results if isinstance(result, Failure)] == [
        Failure("77.jpg", "predict", "RuntimeError", "kernel failed", "print 77")
    ]
    assert engine.calls <= 2 * np.ceil(np.log2(200)) + 1, "the batch is halved, not taken apart"


def test_a_probability_that_is_not_a_number_is_a_failure() -> None:
    good, bad = Predictor(FakeEngine(not_finite=2)).predict([image(1), image(2)])

    assert isinstance(good, Prediction)
    assert isinstance(bad, Failure)
    assert (bad.path, bad.stage, bad.error) == ("2.jpg", "predict", "NotAProbability")
    assert bad.message == "the model returned nan, which is no probability"


def test_a_value_beyond_0_to_1_is_a_failure_and_one_by_rounding_is_not() -> None:
    for scale, written in ((1.0005, 1.0), (-0.0005, 0.0)):
        [found] = Predictor(FakeEngine(scale=scale)).predict([image(255)])
        assert isinstance(found, Prediction)
        assert found.probabilities.tolist() == [written]
    [bad] = Predictor(FakeEngine(scale=1.1)).predict([image(255)])
    assert isinstance(bad, Failure)
    assert bad.message == "the model returned 1.1, which is no probability"


class SmallEngine(FakeEngine):
    """Has memory for some images at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.refused = 0

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if len(pixels) > self.most:
            self.refused += 1
            raise MemoryError(f"no room for {len(pixels)}")
        return super().predict(pixels)


def test_a_batch_too_large_for_the_memory_is_halved_and_no_later_one_is_as_large() -> None:
    images = [image(value) for value in range(32)]
    engine = SmallEngine(most=9)
    predictor = Predictor(engine)

    for _ in range(3):
        results = list(predictor.predict(images))
        assert [result.ref.path for result in results if isinstance(result, Prediction)] == [
            image.ref.path for image in images
        ]

    assert engine.refused == 2, "the engine was asked for 32 and for 16 once, and for 8 from then on"
    assert engine.calls == 3 * 4


def test_calls_are_as_large_whatever_the_number_of_images() -> None:
    sizes: list[int] = []

    class Sized(FakeEngine):
        def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
            sizes.append(len(pixels))
            return super().predict(pixels)

    results = Predictor(Sized(forbidden=2)).predict([image(value) for value in range(5)], at_once=8)

    assert [type(result) for result in results] == [Prediction, Prediction, Failure, Prediction, Prediction]
    assert [float(result.probabilities[0]) for result in results if isinstance(result, Prediction)] == pytest.approx(
        [value / 255 for value in (0, 1, 3, 4)]
    )
    assert set(sizes) == {8}


def test_calls_that_are_filled_up_are_no_larger_than_the_memory() -> None:
    engine = SmallEngine(most=9)
    predictor = Predictor(engine)

    for _ in range(2):
        results = predictor.predict([image(value) for value in range(3)], at_once=32)
        assert [result.ref.path for result in results if isinstance(result, Prediction)] == ["0.jpg", "1.jpg", "2.jpg"]

    assert (engine.refused, engine.calls) == (2, 2), "32 and 16 were refused once, and 8 did from then on"


def test_an_image_too_large_for_the_memory_is_a_failure() -> None:
    [failure] = Predictor(SmallEngine(most=0)).predict([image(1)])

    assert failure == Failure("1.jpg", "predict", "MemoryError", "no room for 1", "print 1")


def test_no_images_need_no_engine() -> None:
    engine = FakeEngine()

    assert list(Predictor(engine).predict([])) == []
    assert engine.calls == 0
