"""What becomes of the images that are being read when a run is asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.images import DecodeSettings, Resized, decode_resized
from pipelines.images.limits import Limits
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Image, ImageRef
from pipelines.supervision import interruption
from pipelines.supervision.budget import Budget
from tests.image_files import encode, picture

DECODING = DecodeSettings(32, "bilinear")


class Gate(ImageSource):
    """A source whose images are decoded only once a gate is open."""

    def __init__(self, threads: int, budget: Budget | None = None) -> None:
        super().__init__(DECODING, Limits(), threads, budget)
        self.decoding = threading.Semaphore(0)
        self.open = threading.Event()

    def decode_bytes(self, data: bytes) -> Resized:
        self.decoding.release()
        assert self.open.wait(20)
        return decode_resized(data, DECODING)


@pytest.fixture
def refs(tmp_path: Path) -> list[ImageRef]:
    data = encode(picture(48, 64), "png")
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path in paths:
        path.write_bytes(data)
    return [ImageRef(str(path), len(data), "print") for path in paths]


@pytest.fixture
def stoppable(in_time: None) -> Iterator[None]:
    with interruption.deferred():
        yield


def ask_to_stop() -> None:
    signal.raise_signal(signal.SIGTERM)
    assert interruption.asked()


@pytest.mark.parametrize("budget", [None, Budget(1, 1 << 40)], ids=["waiting for their turn", "waiting for memory"])
def test_images_being_decoded_are_finished_and_those_that_wait_are_postponed(
    refs: list[ImageRef], stoppable: None, budget: Budget | None
) -> None:
    source = Gate(threads=1, budget=budget)
    with closing(LookAhead(source, 4)) as ahead:
        read = [item for ref in refs[:8] for item in ahead.put(ref)]
        assert source.decoding.acquire(timeout=20)
        ask_to_stop()
        source.open.set()
        read += ahead.drain()

    # Whichever had its turn.
    assert len([item for item in read if isinstance(item, Image)]) == 1
    assert ahead.postponed == 7


def test_an_image_that_takes_too_long_is_abandoned_and_those_after_it_are_not(
    refs: list[ImageRef], stoppable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "SECONDS_TO_FINISH", 0.05)
    source = Gate(threads=2)
    quick = threading.Event()

    def decode(data: bytes) -> Resized:
        source.decoding.release()
        if not quick.is_set():
            quick.set()
            assert source.open.wait(20)
        return decode_resized(data, DECODING)

    monkeypatch.setattr(source, "decode_bytes", decode)
    ahead = LookAhead(source, 2)
    read = [item for ref in refs[:1] for item in ahead.put(ref)]
    assert source.decoding.acquire(timeout=20)
    read += [item for ref in refs[1:2] for item in ahead.put(ref)]
    assert source.decoding.acquire(timeout=20)
    ask_to_stop()
    read += ahead.drain()
    # It does not wait for the thread either.
    ahead.close()

    assert [item.ref.path for item in read if isinstance(item, Image)] == [refs[1].path]
    assert ahead.postponed == 1
    source.open.set()
