"""Daft with our LiteRT engine: one instance of a class, whose interpreters Daft's threads share.

Also tried: one instance per core with an interpreter each (`max_concurrency`), in threads or in processes, both 7 %
slower; batches of 8 and of 64, no faster.
"""

from __future__ import annotations

import sys

from benchmarks.peers.daft_job import run
from benchmarks.peers.job import parse_job
from pipelines.supervision.machine import available_cores

if __name__ == "__main__":
    # Daft imports TensorFlow if installed, to recognize its tensors; a user of LiteRT would not have it.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    run(parse_job(), lambda model: model.open_litert(available_cores()))
