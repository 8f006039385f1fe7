"""Outputs of a few images, written as a run writes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines import storage
from pipelines.inference.bundle import Bundle
from pipelines.output.commit import commit
from pipelines.output.run import Run, Wave
from pipelines.output.writing import FailureTable, PredictionTable, TableWriter
from pipelines.records import Failure, Footprint, ImageRef, Prediction, Window
from pipelines.scenes.grid import Grid, window_path
from tests.pipelines.output.rows import written
from tests.pipelines.results.scene_outputs import square, wkb

Probabilities = Sequence[float]


def run_of(run: Run, output: str | Path, labels: Sequence[str], threshold: float = 0.5) -> Run:
    """Return a run into an output whose model has these labels."""
    bundle: Bundle = replace(run.bundle, labels=tuple(labels), thresholds=(threshold,) * len(labels))
    return replace(run, output=str(output), bundle=bundle, thresholds=bundle.thresholds)


def fingerprint(path: str) -> str:
    """Return the fingerprint of a file, as a listing does."""
    if storage.is_remote(path):
        return storage.look_up(path).fingerprint
    return storage.fingerprint_of(os.stat(path)) if os.path.isfile(path) else "1-1"


def image(path: str, probabilities: Probabilities, fingerprint_of: str | None = None) -> Prediction:
    """Return the prediction of an image."""
    ref = ImageRef(path, 1, fingerprint(path) if fingerprint_of is None else fingerprint_of)
    return Prediction(ref, 256, 256, "jpeg 4x8", ("cmyk",), np.array(probabilities, np.float32))


def window(scene: str, column: int, probabilities: Probabilities) -> Prediction:
    """Return the prediction of a window in the first row of a scene."""
    place = Window(scene, column, 0, 256, 256, 0, 1024, 256, 1)
    ref = ImageRef(window_path(scene, column, 0, 256, 256), 1, fingerprint(scene), window=place)
    west = column / 1000
    footprint = Footprint(wkb(square(west, 20)), (west, 20, west + 0.01, 20.01), "2026-03-01T10:30:00+00:00")
    return Prediction(ref, 256, 256, "tiff 3x8", (), np.array(probabilities, np.float32), footprint)


def write(run: Run, predictions: Iterable[Prediction], failures: Iterable[Failure] = ()) -> None:
    """Commit rows to the output of a run."""
    tables = TableWriter(PredictionTable(), run), TableWriter(FailureTable(), run)
    for prediction in predictions:
        tables[0].write(prediction)
    for failure in failures:
        tables[1].write(failure)
    files = [file for table in tables if (file := table.close())]
    count = sum(file.accounts.predictions + file.accounts.failures for file in files)
    commit(run, Wave(inputs=count), written(files))


def write_images(run: Run, images: Mapping[str, Probabilities]) -> None:
    """Commit images with these probabilities."""
    write(run, [image(path, probabilities) for path, probabilities in images.items()])


def with_grid(run: Run) -> Run:
    """Return the run with scenes cut into windows."""
    return replace(run, grid=Grid(256, 256))
