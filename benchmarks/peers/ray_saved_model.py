"""Ray Data with the SavedModel: one actor, in which TensorFlow takes all cores, and which reserves one.

Tried as well: an actor a core with TensorFlow on one thread, 20 % slower or more.
"""

from __future__ import annotations

from benchmarks.peers.job import parse_job
from benchmarks.peers.ray_job import run

if __name__ == "__main__":
    run(parse_job(), lambda model: model.open_saved_model(), actors=1, cpus=1)
