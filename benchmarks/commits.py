"""Measure commits to a bucket that is slow to answer: `python -m benchmarks.commits`.

A bucket in memory answers each request after a delay. The staged files of a commit lie there, and get their places.
What counts is the ratio of the time this takes to that of its requests, if as many were always under way as there are
connections; on a machine whose cores are busy, what the client library computes for each request.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pipelines import storage
from pipelines.inference.processor import describe_processor
from pipelines.output.commit import conclude
from pipelines.output.journal import Journal
from pipelines.output.run import PREDICTIONS, OutputRun
from pipelines.storage import Move
from pipelines.storage.objects import CONNECTIONS
from tools.delayed_buckets import answered, delayed, put_objects
from tools.emulators import environment

GOAL = 60.0
"""Seconds in which 20,000 files are to be committed with a delay of 50 ms."""


class Commit(NamedTuple):
    """One commit.

    Attributes:
      scheme: of the bucket.
      files: number of them.
      seconds: that it took.
      computed: seconds of a core that this process computed.
      least: seconds of its requests, if all connections were always in use.
      requests: number of requests by kind.
    """

    scheme: str
    files: int
    seconds: float
    computed: float
    least: float
    requests: Counter[str]

    def line(self) -> str:
        """Say what was measured."""
        requests = sum(self.requests.values())
        kinds = ", ".join(f"{number:,} x {kind}" for kind, number in sorted(self.requests.items()))
        return (
            f"{self.scheme}://: {self.files:,} files in {self.seconds:.1f} s, {self.seconds / self.least:.2f} times "
            f"the {self.least:.1f} s of the requests alone; {requests / self.files:.2f} requests per file ({kinds}), "
            f"{requests / self.seconds:,.0f} per second; {1000 * self.computed / self.files:.2f} ms of a core per file"
        )


def main() -> int:
    """Measure, print a line per kind of bucket, and optionally write JSON; return 1 if the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="files of the commit (default 20000)")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each answer (default 0.05)")
    parser.add_argument("--storage", choices=("gs", "s3"), action="append", help="kind of bucket (default both)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()

    print(f"{describe_processor()}; {1000 * options.delay:.0f} ms per request, {CONNECTIONS} connections")
    commits = [measure(scheme, options.files, options.delay) for scheme in options.storage or ("gs", "s3")]
    if options.json:
        options.json.write_text(json.dumps([commit._asdict() for commit in commits], indent=2))
    print(f"goal: at most {GOAL:.0f} s for 20,000 files with a delay of 50 ms")
    return int(any(commit.seconds > GOAL for commit in commits))


def measure(scheme: str, files: int, delay: float) -> Commit:
    """Commit files that are staged already, and measure it."""
    with delayed(scheme, delay) as emulator:
        os.environ.update(environment(scheme, emulator.host))
        run = OutputRun("20260101T000000Z-0001", f"{emulator.bucket}/output")
        moves = [_move(run) for _ in range(files)]
        put_objects(emulator, [f"output/{move.source}" for move in moves])
        computed, began = time.process_time(), time.perf_counter()
        conclude(run, Journal(0, moves, []))
        storage.delete_folder(run.staging)
        seconds, computed = time.perf_counter() - began, time.process_time() - computed
        requests = answered(emulator)
        placed = len(storage.list_files(f"{run.output}/{PREDICTIONS}"))
    if placed != files:
        raise AssertionError(f"{placed} of {files} files were placed")
    commit = Commit(scheme, files, seconds, computed, sum(requests.values()) * delay / CONNECTIONS, requests)
    print(commit.line(), flush=True)
    return commit


def _move(run: OutputRun) -> Move:
    staged = run.relative(run.stage(PREDICTIONS))
    return Move(staged, staged.partition("/")[2])


if __name__ == "__main__":
    sys.exit(main())
