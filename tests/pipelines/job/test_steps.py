"""What Beam does with the steps of a worker: copies of them at work side by side, in one process."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from apache_beam.internal import pickler
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.inference import ahead as inference
from pipelines.inference.ahead import Model
from pipelines.inference.bundle import load_bundle
from pipelines.inference.engines import open_engine
from pipelines.job.steps import PredictAhead, ReadAhead
from pipelines.listing import list_images
from pipelines.records import ImageRef
from pipelines.storage import Access
from tests.pipelines.conftest import WriteChips

BUNDLES_AT_A_TIME = 6


def passed_through(step: ReadAhead | PredictAhead, elements: Iterable[Any]) -> Iterator[Any]:
    """Do with a step what Beam does for a bundle."""
    for element in elements:
        yield from step.process(element)
    for item in step.finish_bundle():
        assert isinstance(item, WindowedValue), item
        yield item.value


def test_bundles_that_a_process_works_on_side_by_side_share_the_engine_and_nothing_else(
    chips: WriteChips, tmp_path: Path, bundle_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chips([f"{number:02}.jpg" for number in range(30)])
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as archive:
        archive.add(folder, "more")
    refs = [ref for ref in list_images([str(folder), f"{tmp_path}/more.tar.gz"]) if isinstance(ref, ImageRef)]
    assert len(refs) == 60
    bundle = load_bundle(bundle_path)
    opened = []

    def count(*arguments: Any, **named: Any) -> Any:
        opened.append(arguments)
        return open_engine(*arguments, **named)

    monkeypatch.setattr(inference, "open_engine", count)
    inference._load.cache_clear()
    decoding = DecodeSettings(bundle.image_size, bundle.resize_filter)
    sent = pickler.dumps(
        (
            ReadAhead(decoding, Limits(), 4, 1, "run", Access()),
            PredictAhead(Model(bundle.path, bundle.digest, threads=1), "run"),
        )
    )
    together = threading.Barrier(BUNDLES_AT_A_TIME)

    def work_on_a_bundle(_: int) -> list[tuple[str, bytes]]:
        read, predict = pickler.loads(sent)
        together.wait(20)
        read.setup()
        predict.setup()
        try:
            predicted = passed_through(predict, passed_through(read, refs))
            return [(item.ref.path, item.probabilities.tobytes()) for item in predicted]
        finally:
            predict.teardown()
            read.teardown()

    before = set(threading.enumerate())
    with ThreadPoolExecutor(BUNDLES_AT_A_TIME) as bundles:
        found = list(bundles.map(work_on_a_bundle, range(BUNDLES_AT_A_TIME)))

    assert len(opened) == 1
    assert [path for path, _ in found[0]] == [ref.path for ref in refs]
    assert all(rows == found[0] for rows in found)
    assert not set(threading.enumerate()) - before
    inference._load.cache_clear()
