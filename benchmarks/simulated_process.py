"""A child process of a run on a simulated machine, which it finds in its environment: see `benchmarks.cores`."""

from __future__ import annotations

from benchmarks.cores import Machine, at_work
from pipelines.job import predictor_process


def main() -> None:
    """Run as a child of `pipelines.job.child`."""
    with at_work(Machine.of_environment()):
        predictor_process.main()
