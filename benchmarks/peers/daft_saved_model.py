"""Daft with the SavedModel: one instance of a class, which Daft's threads share.

Also tried: one batch at a time (`max_concurrency=1`), 20 % slower; one instance per core, each in a process with
TensorFlow on one thread, slower still; TensorFlow on one thread, no faster.
"""

from __future__ import annotations

from benchmarks.peers.daft_job import run
from benchmarks.peers.job import parse_job

if __name__ == "__main__":
    run(parse_job(), lambda model: model.open_saved_model())
