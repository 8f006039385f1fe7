"""Predict in batches: full ones, in the order of the names, and none that waits for images that do not come."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.inference.predictor import Predictor
from pipelines.reading.batches import PredictInBatches
from pipelines.reading.source import ImageSource
from pipelines.records import Failure, ImageRef, Prediction
from pipelines.supervision import interruption
from tests.pipelines.reading.test_ahead import Busy, Means

BATCH = 8


class InBatches(Means):
    """The same engine, faster with many images per call."""

    takes_batches = True


@pytest.fixture(autouse=True)
def _in_time(in_time: None) -> None:
    """Fail where a test takes forever."""


@pytest.fixture
def engine() -> InBatches:
    return InBatches(Busy())


@pytest.fixture
def ahead(engine: InBatches) -> Iterator[PredictInBatches]:
    source = ImageSource(DecodeSettings(32, "bilinear"), Limits(), 2)
    with closing(PredictInBatches(source, 4, Predictor(engine), BATCH)) as made:
        yield made


def test_every_image_has_one_result_and_batches_are_full(
    ahead: PredictInBatches, engine: InBatches, refs: list[ImageRef]
) -> None:
    found = list(ahead.read(refs))

    predicted = [item.ref.path for item in found if isinstance(item, Prediction)]
    failed = [item.path for item in found if isinstance(item, Failure)]
    assert predicted == [ref.path for number, ref in enumerate(refs) if number % 7]
    assert failed == [ref.path for ref in refs[::7]]
    assert engine.sizes == [BATCH] * 7, "51 images, and the last batch is filled up"
    assert ahead.is_empty


def test_what_waits_for_a_batch_is_predicted_once_nothing_is_read(
    ahead: PredictInBatches, engine: InBatches, refs: list[ImageRef]
) -> None:
    for ref in refs[1:4]:
        ahead.begin(ref)
    while not ahead._images.is_empty:
        assert list(ahead.next()) == []
    assert not ahead.is_empty

    assert [item.ref for item in ahead.next() if isinstance(item, Prediction)] == refs[1:4]
    assert (engine.sizes, ahead.is_empty) == ([BATCH], True)


def test_a_batch_that_takes_too_long_is_postponed_once_the_run_is_to_stop(
    refs: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    class Slow(InBatches):
        def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
            assert may_end.wait(30)
            return super().predict(pixels)

    source = ImageSource(DecodeSettings(32, "bilinear"), Limits(), 2)
    slow = PredictInBatches(source, 4, Predictor(Slow(Busy())), BATCH)
    for ref in refs[1:7]:
        slow.begin(ref)
    while not slow._images.is_empty:
        assert list(slow.next()) == []
    monkeypatch.setattr(interruption, "overdue", lambda: True)
    try:
        assert list(slow.drain()) == []
        assert (slow.postponed, slow.is_empty) == (6, True)
        # It would wait for the call, and the call for us.
        slow.close()
    finally:
        may_end.set()
