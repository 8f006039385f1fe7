"""Ray Data with our OpenVINO engine, set up as with LiteRT: an actor per core, each with one compiled model."""

from __future__ import annotations

from benchmarks.peers.job import parse_job
from benchmarks.peers.ray_job import run
from pipelines.supervision.machine import available_cores

if __name__ == "__main__":
    job = parse_job()
    precision = job.precision
    run(job, lambda model: model.open_openvino(1, precision), actors=available_cores(), cpus=0.5)
