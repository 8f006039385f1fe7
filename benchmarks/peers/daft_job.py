"""A Daft job with the model in its own process, where threads can share it."""

from __future__ import annotations

import os
from collections.abc import Callable

# Disables Daft's usage reports.
os.environ["DO_NOT_TRACK"] = "true"

import daft
import numpy as np
import pyarrow as pa
from daft import DataType, Series, col
from daft.functions import download

from benchmarks.peers.job import Job, Model, Predict, load_model

BATCH = 32


def run(job: Job, open_model: Callable[[Model], Predict]) -> None:
    """Tag the images of a job.

    Args:
      job: of the peer.
      open_model: function that loads the model.
    """
    model = load_model(job.bundle)
    names = list(model.columns(np.empty((0, len(model.labels)), np.float32)))

    @daft.cls(use_process=False)
    class Predictor:
        def __init__(self) -> None:
            self._predict = open_model(model)

        @daft.method.batch(
            return_dtype=DataType.struct(dict.fromkeys(names, DataType.float32())), batch_size=BATCH, unnest=True
        )
        def predict(self, files: Series) -> pa.Array:
            probabilities = self._predict(model.decode_batch(files.to_pylist()))
            return pa.StructArray.from_arrays([pa.array(column) for column in probabilities.T], names)

    images = daft.from_pydict({"path": job.paths}).with_column("bytes", download(col("path")))
    images.select("path", Predictor().predict(col("bytes"))).write_parquet(job.output)
