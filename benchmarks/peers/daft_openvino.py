"""Daft with our OpenVINO engine, set up as with LiteRT: one instance of a class, shared by Daft's threads."""

from __future__ import annotations

import sys

from benchmarks.peers.daft_job import run
from benchmarks.peers.job import parse_job
from pipelines.supervision.machine import available_cores

if __name__ == "__main__":
    # See `daft_litert`.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    job = parse_job()
    precision = job.precision
    run(job, lambda model: model.open_openvino(available_cores(), precision))
