"""A Ray Data job: tasks read and decode, actors predict."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

# Disables Ray's usage reports.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

from benchmarks.peers.job import Job, Model, Predict, load_model
from pipelines.supervision.machine import available_cores

BATCH = 32
_OBJECT_STORE = 512 * 2**20

Batch = dict[str, Any]


class Predictor:
    """An actor with a model."""

    def __init__(self, model: Model, open_model: Callable[[Model], Predict]) -> None:
        self._model = model
        self._predict = open_model(model)

    def __call__(self, batch: Batch) -> Batch:
        return {"path": batch["path"], **self._model.columns(self._predict(batch["pixels"]))}


def run(job: Job, open_model: Callable[[Model], Predict], actors: int, cpus: float) -> None:
    """Tag the images of a job.

    Args:
      job: of the peer.
      open_model: function that loads the model.
      actors: number of actors that predict.
      cpus: reserved by each of them; some must be left for the tasks, or Ray waits forever.
    """
    model = load_model(job.bundle)

    def decode(row: Batch) -> Batch:
        return {"path": row["path"], "pixels": model.decode(row["bytes"])}

    ray.init(
        num_cpus=available_cores(),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.read_binary_files(job.paths, include_paths=True).map(decode).map_batches(
        Predictor,
        fn_constructor_args=(model, open_model),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=cpus,
    ).write_parquet(job.output)
