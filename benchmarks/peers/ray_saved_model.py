"""Ray Data with the SavedModel: one actor, which reserves one core and in which TensorFlow uses all.

Also tried: an actor per core with TensorFlow on one thread, at least 20 % slower.
"""

from __future__ import annotations

from benchmarks.peers.job import parse_job
from benchmarks.peers.ray_job import run

if __name__ == "__main__":
    run(parse_job(), lambda model: model.open_saved_model(), actors=1, cpus=1)
