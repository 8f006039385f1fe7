"""Outputs to be retagged, and changes to one of their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.inference.bundle import Bundle
from pipelines.inference.rules import Rules
from pipelines.output import joining
from pipelines.output.commit import commit, recover
from pipelines.output.footers import FOOTER
from pipelines.output.retagging import Retagging
from pipelines.output.run import Run, Wave, new_run_name
from pipelines.output.writing import FailureTable, PredictionTable, TableWriter
from pipelines.records import Failure, Footprint, ImageRef, Prediction, Window
from pipelines.scenes.grid import Grid
from tests.pipelines.output.rows import written
from tests.pipelines.results.scene_outputs import square, wkb

LABELS = ("clear", "bare ground", "Clear", 'road, "paved"')
RULES = Rules(exclusive=(("clear", "Clear"),), alone=("bare ground",))


def bundle(digest: str) -> Bundle:
    thresholds = (0.5,) * len(LABELS)
    return Bundle(
        path="bundle",
        digest=digest,
        name="small",
        labels=LABELS,
        thresholds=thresholds,
        image_size=8,
        resize_filter="bilinear",
        files={},
        training={},
        metrics={},
        versions={},
    )


def write(output: str, *sizes: int, digest: str = "b" * 64) -> None:
    """Write an output: a file of predictions of each size, windows of scenes, and one of failures."""
    made_by = bundle(digest)
    random = np.random.default_rng(1)
    for number, size in enumerate(sizes):
        run = Run(f"20260101T00000{number}Z-{digest[:4]}", output, made_by, made_by.thresholds, grid=Grid(256, 256))
        predictions, failures = TableWriter(PredictionTable(), run), TableWriter(FailureTable(), run)
        for row in range(size):
            place = square(number + row / 1000, 10)
            place_in_scene = Window(f"{number}.tif", row, 0, 1, 1, 0, size, 1, 1000)
            ref = ImageRef(f"{number}.tif#xywh={row},0,1,1", 1, "1", window=place_in_scene)
            footprint = Footprint(wkb(place), (*place[0], *place[2]), "2026-01-01T00:00:00")
            probabilities = random.random(len(LABELS)).astype(np.float32)
            predictions.write(Prediction(ref, 256, 256, "tiff 3x8", ("exif_rotated",), probabilities, footprint))
        failures.write(Failure(f"failed {number}.jpg", "read", "OSError", "gone", "1"))
        files = [file for writer in (predictions, failures) if (file := writer.close())]
        with patch.object(joining, "MOST_BYTES", 0):
            commit(run, Wave(inputs=size + 1), written(files))
        recover(output)


def retagging(output: str, threshold: float = 0.25, rules: Rules = RULES) -> Retagging:
    return Retagging(new_run_name(), output, "b" * 64, LABELS, (threshold,) * len(LABELS), rules)


def prediction_files(output: str) -> list[str]:
    return storage.list_files(f"{output}/predictions", ".parquet")


def edited(change: Callable[[pa.Table], pa.Table]) -> Callable[[str], None]:
    def edit(output: str) -> None:
        path = prediction_files(output)[1]
        pq.write_table(change(pq.read_table(path, partitioning=None)), path)

    return edit


def reworded(table: pa.Table, **changes: object) -> pa.Table:
    """Let the footer say other things, or leave out what is None."""
    footer = json.loads(table.schema.metadata[FOOTER.encode()]) | changes
    kept = {name: value for name, value in footer.items() if value is not None}
    return table.replace_schema_metadata({FOOTER: json.dumps(kept)})


def with_tags(values: Sequence[object], kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index("tags"), "tags", pa.array(values, kind))
