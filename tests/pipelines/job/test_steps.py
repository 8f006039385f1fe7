"""What Beam does with the steps of a worker: copies of them at work side by side, in one process."""

from __future__ import annotations

import signal
import tarfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apache_beam.internal import pickler
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.archives.packed import PackedNames, pack
from pipelines.images import DecodeSettings
from pipelines.images.rendering import NO_RENDERING
from pipelines.inference import ahead as inference
from pipelines.inference.ahead import Model
from pipelines.inference.bundle import load_bundle
from pipelines.inference.engines import open_engine
from pipelines.job.predicting import PredictSettings
from pipelines.job.steps.images import ReadAndPredict
from pipelines.job.steps.listing import OpenListed
from pipelines.job.steps.names import TakeNames
from pipelines.job.steps.rows import CloseWave, WriteTable
from pipelines.listing import list_images
from pipelines.listing.inputs import Inputs
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings
from pipelines.output.lock import hold_output
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.writing import FailureTable
from pipelines.records import Failure, ImageRef
from pipelines.scenes.grid import Grid
from pipelines.supervision import interruption
from tests.pipelines.conftest import WriteChips
from tests.scene_files import samples, write_scene

BUNDLES_AT_A_TIME = 6


def passed_through(step: ReadAndPredict, elements: Iterable[Any]) -> Iterator[Any]:
    """Do with a step what Beam does for a bundle."""
    for element in elements:
        yield from step.process(element)
    for item in step.finish_bundle():
        assert isinstance(item, WindowedValue), item
        yield item.value


def names(count: int) -> PackedNames:
    return PackedNames(ImageRef(f"{number}.jpg", 1, "print") for number in range(count))


def taken(step: TakeNames) -> tuple[int, list[int]]:
    """Take the names of a wave; give the number of those taken, and the numbers of those postponed."""
    items = list(step.process(b""))
    postponed = [item.value for item in items if isinstance(item, TaggedOutput)]
    assert all(isinstance(item, ImageRef) for item in items[: len(items) - len(postponed)])
    return len(items) - len(postponed), postponed


def test_a_wave_takes_no_more_names_once_its_time_is_up_but_always_one() -> None:
    # The time of the start, and of the look before each name but the first.
    assert taken(TakeNames(names(3000), 600, iter([0.0, 200.0, 400.0, 600.0]).__next__)) == (3, [2997])
    assert taken(TakeNames(names(3), 600, iter([0.0, 200.0, 400.0]).__next__)) == (3, [])
    assert taken(TakeNames(names(2), 600, iter([0.0, 700.0]).__next__)) == (1, [1])
    assert taken(TakeNames(names(1), 600, iter([0.0]).__next__)) == (1, [])


def test_a_wave_that_is_asked_to_stop_takes_no_more_names() -> None:
    with interruption.deferred():
        taking = TakeNames(names(2000), 600).process(b"")
        assert [next(taking).path for _ in range(2)] == ["0.jpg", "1.jpg"]
        signal.raise_signal(signal.SIGTERM)
        [postponed] = taking
        assert postponed.value == 1998
        assert taken(TakeNames(names(2000), 600)) == (0, [2000])


def test_a_distributed_job_that_is_asked_to_stop_commits_nothing(bundle_path: str, tmp_path: Path) -> None:
    run = Run("run", str(tmp_path), load_bundle(bundle_path), ())
    closing = CloseWave(run, Wave()).process(b"", [], [Accounts(inputs=10)], [], [7])
    with interruption.deferred():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(interruption.InterruptedRunError):
            next(closing)


def test_what_is_passed_over_stays_few_however_many_workers_have_listed(run: Run) -> None:
    files_of_workers = [Counter({f"{kind}{worker}": 1 for kind in range(10)}) for worker in range(30)]
    counted = [Accounts(passed_over=files) for files in files_of_workers]
    closing = CloseWave(run, Wave(), Inputs(["/a", "/b"]))

    with hold_output(run):
        [accounts] = closing.process(b"", [], counted, [], [], sources=[1])

    assert len(accounts.passed_over) == 102
    assert accounts.passed_over["inputs without images"] == 1
    assert sum(accounts.passed_over.values()) == 301


def test_a_bundle_of_scenes_that_failed_leaves_no_thread(run: Run, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", samples(64, 64))
    before = set(threading.enumerate())
    run = replace(run, grid=Grid(32, 32))
    step = OpenListed(run, CutSettings(run.grid, NO_RENDERING, 10_000))
    step.setup()
    step.start_bundle()
    assert list(step.process(pack([(0, refer(str(scene)))]))) == []
    assert set(threading.enumerate()) - before

    step.teardown()

    assert not set(threading.enumerate()) - before


def test_bundles_that_a_process_works_on_side_by_side_share_the_engine_and_nothing_else(
    run: Run, chips: WriteChips, tmp_path: Path, bundle_path: str, monkeypatch: pytest.MonkeyPatch
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
    model = Model(bundle.path, bundle.digest, threads=4)
    sent = pickler.dumps(ReadAndPredict(run, PredictSettings(model, decoding, reads_in_flight=1)))
    together = threading.Barrier(BUNDLES_AT_A_TIME)

    def work_on_a_bundle(_: int) -> list[tuple[str, bytes]]:
        step = pickler.loads(sent)
        together.wait(20)
        step.setup()
        step.start_bundle()
        try:
            return [(item.ref.path, item.probabilities.tobytes()) for item in passed_through(step, refs)]
        finally:
            step.teardown()

    before = set(threading.enumerate())
    with ThreadPoolExecutor(BUNDLES_AT_A_TIME) as bundles:
        found = list(bundles.map(work_on_a_bundle, range(BUNDLES_AT_A_TIME)))

    assert len(opened) == 1
    assert [path for path, _ in found[0]] == [ref.path for ref in refs]
    assert all(rows == found[0] for rows in found)
    assert not set(threading.enumerate()) - before
    inference._load.cache_clear()


def test_files_are_finished_before_a_bundle_ends_where_it_may_be_long(tmp_path: Path, bundle_path: str) -> None:
    bundle = load_bundle(bundle_path)
    run = Run("20260101T000000Z-0001", str(tmp_path), bundle, bundle.thresholds)
    for often, expected in ((True, [6, 5, 10, 20, 40, 60, 60, 60]), (False, [])):
        step = WriteTable(FailureTable(), run, often, map(float, range(300)).__next__)
        step.start_bundle()
        rows = [Failure(f"{number}.jpg", "read", "OSError", "no reason", "print") for number in range(300)]
        finished = [[file.accounts.failures for file in step.process(row)] for row in rows]
        [last] = [item.value.accounts.failures for item in step.finish_bundle()]
        assert [count for counts in finished for count in counts] == expected
        assert sum(expected) + last == len(rows), "a row is lost"
