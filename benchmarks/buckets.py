"""Measure the cost of a bucket's latency: `python -m benchmarks.buckets`.

Chips are in an emulated bucket, behind a proxy that delays every read of an object. What counts are the ratios within a
round: of the delayed job to the undelayed one, and of a delayed job with one request in flight to the undelayed one.
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.material import large_bundle, synthetic_chips
from pipelines import storage
from tools import emulators
from tools.proxy import Disturbance, Proxy, before

GOAL = 1.3


class Round(NamedTuple):
    """Seconds of `scenetags predict` in one round.

    Attributes:
      undelayed: without delays.
      delayed: with every read delayed.
      serial: with every read delayed, and one read in flight.
    """

    undelayed: float
    delayed: float
    serial: float


def main() -> int:
    """Measure, print a table, and optionally write JSON; return 1 if the delay costs more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.buckets", description=__doc__)
    parser.add_argument("--model", help="a bundle (default: alpha 1.0 at 224 px, hardly trained)")
    parser.add_argument("--count", type=int, default=1000, help="number of chips (default 1000)")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each read (default 0.05)")
    parser.add_argument("--storage", choices=("gs", "s3"), default="gs", help="kind of bucket (default gs)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure (default 3)")
    parser.add_argument("--json", type=Path, help="also write the rounds to this file")
    options = parser.parse_args()

    model = options.model or str(large_bundle())
    chips = sorted(synthetic_chips(options.count).iterdir())
    serve = {"gs": emulators.google, "s3": emulators.amazon}[options.storage]
    with serve() as emulator, before(emulator.host) as proxy:
        os.environ.update(emulators.environment(emulator.scheme, proxy.host))
        with ThreadPoolExecutor(8) as executor:
            list(executor.map(lambda chip: storage.write(f"{emulator.bucket}/{chip.name}", chip.read_bytes()), chips))
        rounds = []
        for number in range(1, options.rounds + 1):
            rounds.append(measure(model, emulator.bucket, proxy, options.delay))
            print(
                f"round {number}: " + ", ".join(f"{k} {v:.1f} s" for k, v in rounds[-1]._asdict().items()), flush=True
            )
    for name, ratio in (("delayed", lambda r: r.delayed / r.undelayed), ("serial", lambda r: r.serial / r.undelayed)):
        print(f"{name} / undelayed: {_spread(rounds, ratio)}")
    print(
        f"goal for delayed / undelayed: at most {GOAL} with a delay of {options.delay * 1000:.0f} ms before each read"
    )
    if options.json:
        options.json.write_text(json.dumps([measured._asdict() for measured in rounds], indent=2))
    return int(statistics.median(r.delayed / r.undelayed for r in rounds) > GOAL)


def measure(model: str, bucket: str, proxy: Proxy, delay: float) -> Round:
    """Measure each duration once."""
    undelayed = seconds(model, bucket)
    undisturbed = proxy.disturb
    proxy.disturb = lambda method, path: Disturbance(seconds=delay if method == "GET" and ".jpg" in path else 0.0)
    try:
        delayed = seconds(model, bucket)
        serial = seconds(model, bucket, "--reads_in_flight=1")
    finally:
        proxy.disturb = undisturbed
    return Round(undelayed, delayed, serial)


def seconds(model: str, images: str, *flags: str) -> float:
    """Run the command with an empty output, and return its duration."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "pipelines.predict", "--engine=litert", "--progress=off", *flags]
        began = time.perf_counter()
        subprocess.run(
            [*command, f"--input={images}", f"--model={model}", f"--output={output}"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - began


def _spread(rounds: list[Round], ratio: Callable[[Round], float]) -> str:
    ratios = [ratio(measured) for measured in rounds]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    sys.exit(main())
