"""Measure what the pipeline itself costs per image, and whether that grows: `python -m benchmarks.simulation`.

Runs `scenetags predict` on archives of simulated images, which are neither read nor computed on: what remains is the
listing, Beam, the look-ahead, batches, Parquet, commits and counts. Every run is a separate process on one core. What
counts is CPU time, because wall-clock time depends on other processes, without start-up, which an archive of a single
image measures. Growth is measured within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.material import small_bundle
from benchmarks.simulated import check

SIZES = (10_000, 100_000, 1_000_000)

MILLISECONDS, MEGABYTES, GROWTH = 0.2, 1000.0, 1.1
"""Goals for the largest archive: CPU time per image, peak memory, and CPU time relative to the next smaller archive."""


class Cost(NamedTuple):
    """The cost of one run.

    Attributes:
      core_seconds: user and system CPU time.
      seconds: wall-clock time.
      peak: peak resident memory, in bytes.
    """

    core_seconds: float
    seconds: float
    peak: int


class Runs(NamedTuple):
    """The cost of tagging an archive, and of the same command again, which skips everything except failures."""

    first: Cost
    again: Cost


class Figures(NamedTuple):
    """The costs of a run on one archive, in each round.

    Attributes:
      images: number of images in the archive.
      core: CPU milliseconds per image.
      clock: wall-clock milliseconds per image.
      megabytes: peak memory.
      growth: `core` relative to that of the next smaller archive; empty for the first.
    """

    images: int
    core: Sequence[float]
    clock: Sequence[float]
    megabytes: Sequence[float]
    growth: Sequence[float]


def main() -> int:
    """Measure, print a table, and optionally write JSON; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--model", help="a bundle (default: alpha 0.35 at 32 px, hardly trained)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images per archive, in increasing order")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure (default 3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options, flags = parser.parse_known_args()

    model, sizes = options.model or str(small_bundle()), [1, *options.sizes]
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append([measure(size, model, flags) for size in sizes])
        shown = (f"{cost.core_seconds:.1f} s {cost.peak / 1e6:.0f} MB" for runs in rounds[-1] for cost in runs)
        print(f"round {number}: {', '.join(shown)}", flush=True)
    first, again = (
        tabulate([[getattr(runs, run) for runs in taken] for taken in rounds], sizes) for run in Runs._fields
    )
    print(f"\none core, medians of {len(rounds)} rounds, times per image and without start-up\n")
    print(f"{'':23}   CPU time     wall time  peak memory  CPU time / that of the archive before")
    for title, rows in (("images", first), ("again", again)):
        print("\n".join(written(row, title) for row in rows))
    if options.json:
        described = {"first": [row._asdict() for row in first], "again": [row._asdict() for row in again]}
        options.json.write_text(json.dumps(described, indent=2))
    print()
    return int(not reach_goals(first[-1]))


def measure(count: int, model: str, flags: Sequence[str]) -> Runs:
    """Tag a simulated archive twice with the same output, empty at first, and check every row."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "benchmarks.simulated", str(count), "--progress=off", *flags]
        command += [f"--model={model}", f"--output={output}"]
        costs = []
        for _ in Runs._fields:
            costs.append(cost_of(command))
            check(output, count)
        return Runs(*costs)


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command and return its cost."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss * 1024)


def tabulate(rounds: Sequence[Sequence[Cost]], sizes: Sequence[int]) -> list[Figures]:
    """Compute figures from the costs of each archive in each round; the first archive measures start-up."""
    starts, *archives = zip(*rounds, strict=True)
    table: list[Figures] = []
    for images, costs in zip(sizes[1:], archives, strict=True):
        spent = [(cost.core_seconds - start.core_seconds) for cost, start in zip(costs, starts, strict=True)]
        passed = [(cost.seconds - start.seconds) for cost, start in zip(costs, starts, strict=True)]
        core, clock = ([1e3 * seconds / images for seconds in taken] for taken in (spent, passed))
        growth = [this / last for this, last in zip(core, table[-1].core, strict=True)] if table else []
        table.append(Figures(images, core, clock, [cost.peak / 1e6 for cost in costs], growth))
    return table


def written(row: Figures, title: str) -> str:
    """Format figures as a line: medians, and growth with its range."""
    core, clock, megabytes = map(statistics.median, (row.core, row.clock, row.megabytes))
    line = f"{row.images:13,} {title:6} {core:10.4f} ms {clock:10.4f} ms {megabytes:9.0f} MB"
    if not row.growth:
        return line
    return f"{line}  {statistics.median(row.growth):.2f} ({min(row.growth):.2f} to {max(row.growth):.2f})"


def reach_goals(largest: Figures) -> bool:
    """Print which goals are met, and return whether all are."""
    reached = True
    for title, values, goal in (
        ("ms of CPU time per image", largest.core, MILLISECONDS),
        ("MB of peak memory", largest.megabytes, MEGABYTES),
        ("times the CPU time of the archive before", largest.growth, GROWTH),
    ):
        if values:
            met = statistics.median(values) <= goal
            reached = reached and met
            print(f"{statistics.median(values):.3g} {title}; goal: at most {goal:g}: {'met' if met else 'MISSED'}")
    return reached


if __name__ == "__main__":
    sys.exit(main())
