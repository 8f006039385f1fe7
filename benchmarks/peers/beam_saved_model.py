"""Beam's RunInference with the SavedModel, using a custom handler as its guide shows.

Beam's own TensorFlow handler imports `tensorflow_hub`, and loads models with a function that rejects a SavedModel in
Keras 3.

Also tried: one worker instead of one per core, up to a third slower; batches that start small and grow, no faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from numpy.typing import NDArray

from benchmarks.peers.job import Model, Predict, load_model, parse_job
from pipelines.images.decoding import Pixels
from pipelines.supervision.machine import available_cores

BATCH = 32


class Handler(ModelHandler[Pixels, NDArray[np.float32], Predict]):
    """A SavedModel, loaded once per process."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model

    def load_model(self) -> Predict:
        return self._model.open_saved_model()

    def run_inference(
        self, batch: Sequence[Pixels], model: Predict, inference_args: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        return model(np.stack(batch))

    def get_num_bytes(self, batch: Sequence[Pixels]) -> int:
        return sum(pixels.nbytes for pixels in batch)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        return {"min_batch_size": BATCH, "max_batch_size": BATCH}


def main() -> None:
    """Run the job."""
    job = parse_job()
    model = load_model(job.bundle)
    names = [f"p_{label}" for label in model.labels]
    schema = pa.schema([("path", pa.string()), *((name, pa.float32()) for name in names)])

    def read(path: str) -> tuple[str, Pixels]:
        return path, model.decode(Path(path).read_bytes())

    def row(path: str, probabilities: NDArray[np.float32]) -> dict[str, Any]:
        return {"path": path, **dict(zip(names, probabilities.tolist(), strict=True))}

    # The `DirectRunner` would first try to download a different runner.
    options = PipelineOptions(
        runner="FnApiRunner", direct_running_mode="multi_threading", direct_num_workers=available_cores()
    )
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | beam.Create(job.paths)
            | beam.Reshuffle()
            | "Read" >> beam.Map(read)
            | RunInference(KeyedModelHandler(Handler(model)))
            | "Row" >> beam.MapTuple(row)
            | beam.io.WriteToParquet(f"{job.output}/rows", schema, file_name_suffix=".parquet")
        )


if __name__ == "__main__":
    main()
