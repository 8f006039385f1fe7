"""Daft with our LiteRT engine: a class of which it holds one instance, whose interpreters its threads share.

Tried as well: an instance a core with an interpreter each (`max_concurrency`), in threads or in processes, each 7 %
slower; batches of 8 and of 64, no faster.
"""

from __future__ import annotations

import sys

from benchmarks.peers.daft_job import run
from benchmarks.peers.job import parse_job
from pipelines.supervision.machine import available_cores

if __name__ == "__main__":
    # Daft imports TensorFlow where it finds it, to tell its tensors; a user of LiteRT has none.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    run(parse_job(), lambda model: model.open_litert(available_cores()))
