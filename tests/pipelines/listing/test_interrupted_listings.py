"""A signal ends a listing, whatever it is waiting for or looking through."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.listing import list_images
from pipelines.storage import stores
from pipelines.storage.buckets import BucketStore
from pipelines.supervision import interruption


class SilentBucket:
    """A bucket that does not answer, but has Ctrl-C pressed at the first request."""

    def __init__(self) -> None:
        self.asked, self.given_up, self.waited_for = threading.Event(), threading.Event(), threading.Event()

    def look_up(self, *_: Any) -> Any:
        # A second signal would end the process at once.
        if not self.asked.is_set():
            self.asked.set()
            signal.raise_signal(signal.SIGINT)
        if not self.given_up.wait(60):
            self.waited_for.set()
        raise FileNotFoundError

    page = get = look_up


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentBucket]:
    """Reach nothing but a bucket that does not answer."""
    bucket = SilentBucket()
    store = BucketStore(bucket)  # type: ignore[arg-type]
    monkeypatch.setattr(stores, "bucket_store", lambda path: store)
    with interruption.deferred():
        yield bucket
    bucket.given_up.set()


@pytest.mark.parametrize(
    ("inputs", "listed"),
    [
        (["gs://b/x"], None),
        (["gs://b/x/*.jpg"], None),
        (["gs://b/{x,y}"], None),
        (["gs://b/x.zip"], None),
        ([], "gs://b/a.jpg"),
        ([], "gs://b/x.tar::a.jpg"),
        ([], "gs://b/list.parquet"),
    ],
)
def test_a_signal_is_met_while_a_bucket_keeps_a_listing_waiting(
    tmp_path: Path, silent: SilentBucket, inputs: list[str], listed: str | None
) -> None:
    if listed and not listed.endswith(".parquet"):
        (tmp_path / "list.txt").write_text(listed)
        listed = f"{tmp_path}/list.txt"

    with pytest.raises(interruption.InterruptedRunError, match="interrupted by SIGINT"):
        list(list_images(inputs, listed))

    assert silent.asked.is_set()
    assert not silent.waited_for.is_set(), "the listing ended with the answer, not with the signal"
    waiting = [thread for thread in threading.enumerate() if thread.name.startswith(("ahead", "list"))]
    assert waiting
    assert all(thread.daemon for thread in waiting), "they would hold up the end of the process"


@pytest.mark.parametrize("shape", ["folder", "blank list"])
def test_a_signal_is_met_where_nothing_is_found(tmp_path: Path, shape: str) -> None:
    for number in range(2000):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / "list.txt").write_text("\n" * 100_000)
    with interruption.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(interruption.InterruptedRunError):
            list(list_images(*(([str(tmp_path)], None) if shape == "folder" else ([], f"{tmp_path}/list.txt"))))
