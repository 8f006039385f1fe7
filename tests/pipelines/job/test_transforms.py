"""The pipeline's steps on Beam's own runners, apart from the command."""

from __future__ import annotations

import tarfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from numpy.typing import NDArray

from pipelines.images import DecodeSettings
from pipelines.inference.ahead import Model
from pipelines.inference.bundle import load_bundle
from pipelines.inference.predictor import Predictor
from pipelines.job.pipeline import TagImages, tag_listed
from pipelines.job.predicting import PredictSettings
from pipelines.job.transforms import PredictImages, SkipTaggedInMemory
from pipelines.listing.inputs import Inputs
from pipelines.output.lock import hold_output
from pipelines.output.manifest import read_accounts
from pipelines.output.run import Run
from pipelines.reading.fetched import Fetched, Refusal
from pipelines.reading.source import ImageSource
from pipelines.records import ImageRef
from pipelines.runners.beam_options import KeptViews
from pipelines.supervision import progress
from pipelines.supervision.progress import Meter
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.pipelines.conftest import on_both_runners

Pipeline = Callable[[], beam.Pipeline]

DECODING = DecodeSettings(32, "bilinear")


@pytest.fixture
def begin(runner: Sequence[str]) -> Pipeline:
    """Begin a pipeline on the runner of the test."""
    options = KeptViews(list(runner))
    return lambda: beam.Pipeline(None if runner else FnApiRunner(), options=options)


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    folder = tmp_path / "chips"
    folder.mkdir()
    for seed in range(12):
        (folder / f"{seed:02}.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=seed)))
    return folder


@pytest.fixture
def model(bundle_path: str) -> Model:
    return Model(bundle_path, load_bundle(bundle_path).digest)


def refs(folder: Path) -> list[ImageRef]:
    return [ImageRef(str(path), path.stat().st_size, "") for path in sorted(folder.iterdir())]


@pytest.mark.parametrize(
    ("reads_in_flight", "runner"), [(1, "local"), (3, "local"), (100, "local"), (3, "portable")], indirect=["runner"]
)
def test_reading_ahead_gives_every_image_once_and_failures_apart(
    begin: Pipeline, run: Run, chips: Path, model: Model, reads_in_flight: int
) -> None:
    (chips / "05.jpg").write_bytes(b"")
    (chips / "06.jpg").unlink()
    wanted = [*refs(chips), ImageRef(f"{chips}/06.jpg", 0, "")]

    with begin() as pipeline:
        settings = PredictSettings(model, DECODING, reads_in_flight=reads_in_flight)
        read = pipeline | beam.Create(wanted) | PredictImages(run, settings)
        assert_that(
            read.predictions | beam.Map(lambda item: (item.ref.path, len(item.probabilities), item.width, item.height)),
            equal_to([(f"{chips}/{n:02}.jpg", 3, 64, 48) for n in range(12) if n not in (5, 6)]),
            label="predictions",
        )
        assert_that(
            read.failed | beam.Map(lambda failure: (failure.path, failure.stage, failure.message)),
            equal_to(
                [
                    (f"{chips}/05.jpg", "decode", "empty file"),
                    (f"{chips}/06.jpg", "read", "No such file or directory"),
                ]
            ),
            label="failures",
        )


def test_reading_continues_while_the_engine_works(
    chips: Path, tmp_path: Path, bundle_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_batch_is_read = threading.Event()
    fetch = ImageSource.fetch

    def noted(source: ImageSource, ref: ImageRef, waits: bool = True) -> Fetched | Refusal | None:
        if ref.path.endswith("08.jpg"):
            third_batch_is_read.set()
        return fetch(source, ref, waits)

    class PatientEngine:
        name = "patient"
        calls = 1
        takes_batches = True
        on_gpu = False

        def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
            assert third_batch_is_read.wait(20), "nothing was read while the first batch was with the engine"
            return np.zeros((len(pixels), len(bundle.labels)), np.float32)

    bundle = load_bundle(bundle_path)
    monkeypatch.setattr(ImageSource, "fetch", noted)
    monkeypatch.setattr(Model, "load", lambda _: Predictor(PatientEngine()))
    run = Run("run", str(tmp_path / "out"), bundle, bundle.thresholds)

    with hold_output(run), beam.Pipeline(FnApiRunner(), KeptViews([])) as pipeline:
        _ = (
            pipeline
            | beam.Create(refs(chips))
            | SkipTaggedInMemory(run)
            | TagImages(run, Model(bundle.path, bundle.digest, batch_size=4))
        )

    assert read_accounts(run.manifest).predictions == 12


@on_both_runners
def test_the_whole_job_runs_as_one_pipeline(begin: Pipeline, chips: Path, tmp_path: Path, bundle_path: str) -> None:
    (chips / "05.jpg").write_bytes(b"")
    bundle = load_bundle(bundle_path)
    run = Run("run", str(tmp_path / "out"), bundle, bundle.thresholds)
    (tmp_path / "list.txt").write_text("chips/00.jpg\nchips/gone.jpg\n")
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as archive:
        archive.add(chips, "more")

    with hold_output(run), begin() as pipeline:
        tagging = TagImages(run, Model(bundle.path, bundle.digest))
        _ = tag_listed(pipeline, tagging, Inputs([str(chips), f"{tmp_path}/more.tar.gz"], f"{tmp_path}/list.txt"))

    accounts = read_accounts(run.manifest)
    assert (accounts.inputs, accounts.predictions, accounts.failures, accounts.skipped) == (25, 22, 3, 0)
    assert accounts.balanced
    assert accounts.errors == {"decode: NotAnImageError": 2, "list: FileNotFoundError": 1}


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="reads_in_flight must be at least 1, not 0"):
        PredictSettings(Model("b", "d"), DECODING, reads_in_flight=0)
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        Model("b", "d", threads=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        Model("bundle", "digest", batch_size=0)


def test_failures_are_shown_where_they_happen_not_where_they_are_written(
    run: Run, chips: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chips / "05.jpg").write_bytes(b"")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    lines: list[str] = []

    def report(meter: Meter, seconds: float) -> None:
        lines.append(progress.line(meter, seconds))

    display = partial(progress.show_lines, report=report)
    with progress.metered(run.name, 12, display), beam.Pipeline(FnApiRunner(), KeptViews([])) as pipeline:
        predicted = pipeline | beam.Create(refs(chips)) | PredictImages(run, PredictSettings(model, DECODING))
        _ = predicted.predictions | beam.Map(lambda _: time.sleep(0.05))

    assert [line for line in lines if line.startswith("1 of 12 images")]
    assert lines[-1].endswith("1 failure")
