"""Measure whether memory grows with the archive: `python -m benchmarks.memory`.

Compares the peak memory of `scenetags predict` on a small and a large archive of chips, which are hard links to a few
drawn ones, and of the same command run again, which skips them all. What counts is the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.material import CACHE, small_bundle, synthetic_chips

DRAWN = 64
GOAL = 1.15


class Peaks(NamedTuple):
    """Peak resident memory of the command over one archive, in bytes.

    Attributes:
      first: with no image tagged before.
      again: with all images tagged before.
    """

    first: int
    again: int


class Round(NamedTuple):
    """The peaks of one round."""

    small: Peaks
    large: Peaks


def main() -> int:
    """Measure, print a table, and optionally write JSON; return 1 if memory grows by more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--model", help="a bundle (default: alpha 0.35 at 32 px, hardly trained)")
    parser.add_argument("--small", type=int, default=4000, help="images in the small archive (default 4000)")
    parser.add_argument("--large", type=int, default=64_000, help="images in the large archive (default 64000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure (default 3)")
    parser.add_argument("--json", type=Path, help="also write the rounds to this file")
    options, flags = parser.parse_known_args()

    model = options.model or str(small_bundle())
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        small, large = (simulate(Path(folder), count) for count in (options.small, options.large))
        rounds = []
        for number in range(1, options.rounds + 1):
            rounds.append(Round(peaks(model, small, flags), peaks(model, large, flags)))
            shown = ", ".join(f"{peak / 1e6:.0f} MB" for measured in rounds[-1] for peak in measured)
            print(f"round {number}: {shown}", flush=True)
    print(f"\npeak memory of scenetags predict, medians of {len(rounds)} rounds; goal: a ratio of at most {GOAL}")
    print(f"{'':13} {options.small:8,} images {options.large:8,} images   ratio")
    growth = []
    for run, title in (("first", "first run"), ("again", "second run")):
        taken = [(getattr(measured.small, run), getattr(measured.large, run)) for measured in rounds]
        ratios = [large / small for small, large in taken]
        megabytes = [f"{statistics.median(peaks) / 1e6:12.0f} MB" for peaks in zip(*taken, strict=True)]
        growth.append(statistics.median(ratios))
        print(f"{title:14}{' '.join(megabytes)}   {growth[-1]:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    if options.json:
        described = [{name: taken._asdict() for name, taken in measured._asdict().items()} for measured in rounds]
        options.json.write_text(json.dumps(described, indent=2))
    return int(max(growth) > GOAL)


def peaks(model: str, images: Path, flags: list[str]) -> Peaks:
    """Run the command twice with the same output, empty at first, and return both peaks."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "pipelines.predict", "--engine=litert", "--progress=off", *flags]
        command += [f"--input={images}", f"--model={model}", f"--output={output}"]
        return Peaks(peak(command), peak(command))


def peak(command: list[str]) -> int:
    """Run a command and return its peak resident memory in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return usage.ru_maxrss * 1024


def simulate(folder: Path, count: int) -> Path:
    """Create a folder of `count` hard links to a few drawn chips."""
    drawn = sorted(synthetic_chips(DRAWN).iterdir())
    images = folder / str(count)
    images.mkdir()
    for number in range(count):
        # One folder, with names like those of the reference set.
        os.link(drawn[number % len(drawn)], images / f"train_{number}.jpg")
    return images


if __name__ == "__main__":
    sys.exit(main())
