"""Measure what the pipeline itself costs an image, and whether that grows: `python -m benchmarks.simulation`.

`scenetags predict` over archives of simulated images, which are neither read nor computed on: what remains is the
listing, Beam's part, the look-ahead, batches, Parquet, commits and accounts. Every run has a process of its own on one
core. What counts is the processor's time, for the clock's is the neighbours' as well, without that of starting, which
an archive of a single image tells; growth is measured within a round.
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
"""Goals for the largest archive: of the core an image, peak memory, and the former by that of the archive before it."""


class Cost(NamedTuple):
    """What one run cost.

    Attributes:
      core_seconds: of the processor, what the system did for it included.
      seconds: by the clock.
      peak: resident memory in bytes.
    """

    core_seconds: float
    seconds: float
    peak: int


class Runs(NamedTuple):
    """What it cost to tag an archive, and the same command once more, which skips all but the failures."""

    first: Cost
    again: Cost


class Figures(NamedTuple):
    """What a run over one archive cost in each round.

    Attributes:
      images: of the archive.
      core: milliseconds of the processor an image.
      clock: milliseconds by the clock an image.
      megabytes: peak memory.
      growth: `core` by that of the archive before; nothing for the first.
    """

    images: int
    core: Sequence[float]
    clock: Sequence[float]
    megabytes: Sequence[float]
    growth: Sequence[float]


def main() -> int:
    """Measure, print a table, and write JSON if asked to; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--model", help="a bundle; by default alpha 0.35 at 32 px, hardly trained")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images of each archive, growing")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure (default 3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options, flags = parser.parse_known_args()

    model, sizes = options.model or str(small_bundle()), [1, *options.sizes]
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append([measure(size, model, flags) for size in sizes])
        told = (f"{cost.core_seconds:.1f} s {cost.peak / 1e6:.0f} MB" for runs in rounds[-1] for cost in runs)
        print(f"round {number}: {', '.join(told)}", flush=True)
    first, again = (
        tabulate([[getattr(runs, run) for runs in taken] for taken in rounds], sizes) for run in Runs._fields
    )
    print(f"\none core, medians of {len(rounds)} rounds, times an image and without the start\n")
    print(f"{'':23}of the core  by the clock  peak memory  of the core by the archive before")
    for title, rows in (("images", first), ("again", again)):
        print("\n".join(written(row, title) for row in rows))
    if options.json:
        described = {"first": [row._asdict() for row in first], "again": [row._asdict() for row in again]}
        options.json.write_text(json.dumps(described, indent=2))
    print()
    return int(not reach_goals(first[-1]))


def measure(count: int, model: str, flags: Sequence[str]) -> Runs:
    """Tag a simulated archive into an empty output, do so once more, and see that every row is right."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "benchmarks.simulated", str(count), "--progress=off", *flags]
        command += [f"--model={model}", f"--output={output}"]
        costs = []
        for _ in Runs._fields:
            costs.append(cost_of(command))
            check(output, count)
        return Runs(*costs)


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command, and see what it cost."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with code {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss * 1024)


def tabulate(rounds: Sequence[Sequence[Cost]], sizes: Sequence[int]) -> list[Figures]:
    """Make figures of what each archive cost in each round; the first of them tells what a start costs."""
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
    """Write figures in a line: medians, and growth with its range."""
    core, clock, megabytes = map(statistics.median, (row.core, row.clock, row.megabytes))
    line = f"{row.images:13,} {title:6} {core:10.4f} ms {clock:10.4f} ms {megabytes:9.0f} MB"
    if not row.growth:
        return line
    return f"{line}  {statistics.median(row.growth):.2f} ({min(row.growth):.2f} to {max(row.growth):.2f})"


def reach_goals(largest: Figures) -> bool:
    """Say which goals are met, and tell whether all of them are."""
    reached = True
    for title, values, goal in (
        ("ms of the core an image", largest.core, MILLISECONDS),
        ("MB of peak memory", largest.megabytes, MEGABYTES),
        ("times that of the archive before", largest.growth, GROWTH),
    ):
        if values:
            met = statistics.median(values) <= goal
            reached = reached and met
            print(f"{statistics.median(values):.3g} {title}, where the goal is {goal:g}: {'met' if met else 'MISSED'}")
    return reached


if __name__ == "__main__":
    sys.exit(main())
