"""Ray Data with our LiteRT engine: an actor per core, each with one interpreter and half a core reserved.

Also tried: one actor with an interpreter per core; a quarter of a core each; decoding in the actors instead of in tasks
before them. None was faster.
"""

from __future__ import annotations

from benchmarks.peers.job import parse_job
from benchmarks.peers.ray_job import run
from pipelines.supervision.machine import available_cores

if __name__ == "__main__":
    run(parse_job(), lambda model: model.open_litert(1), actors=available_cores(), cpus=0.5)
