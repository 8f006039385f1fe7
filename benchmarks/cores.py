"""Measure how many cores one process keeps busy: `python -m benchmarks.cores`.

The whole job runs over simulated images on a simulated machine: it has an interpreter thread and a decoder thread per
core, which sleep as long as their work would take. Sleeping takes no core, so two real cores show what many would do,
as long as Python itself, which runs on one at a time, needs less than that. What counts is the share of the rate that
the interpreters would reach if they never waited for an image.
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks.material import small_bundle
from benchmarks.simulated import decode, simulate
from pipelines.images.decoding import DecodeSettings, Resized
from pipelines.inference.bundle import Bundle
from pipelines.inference.engines import Engine, LiteRTEngine

SECONDS = 10
"""Ideal duration of a run, excluding start-up."""


class Machine(NamedTuple):
    """A simulated machine.

    Attributes:
      cores: number of cores.
      model: core-milliseconds of the model per image.
      decoding: core-milliseconds of decoding and resizing per image.
    """

    cores: int
    model: float
    decoding: float

    @property
    def images_per_second(self) -> float:
        """Rate of its interpreters if they never wait."""
        return 1e3 * self.cores / self.model


def main() -> None:
    """Measure, print a table, and optionally write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=__doc__)
    parser.add_argument("--bundle", help="a bundle, for its labels (default: alpha 0.35 at 32 px, hardly trained)")
    parser.add_argument("--cores", type=int, nargs="+", default=(2, 8, 16, 32), help="cores of the simulated machines")
    parser.add_argument("--model", type=float, nargs="+", default=(7.0, 3.5), help="ms per image (default 7 and 3.5)")
    parser.add_argument("--decoding", type=float, default=1.2, help="ms per image (default 1.2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure (default 3)")
    parser.add_argument("--json", type=Path, help="also write the shares to this file")
    parser.add_argument("--run", type=float, nargs=3, help=argparse.SUPPRESS)
    options, flags = parser.parse_known_args()

    bundle = options.bundle or str(small_bundle())
    if options.run:
        cores, *milliseconds = options.run
        print(share(Machine(int(cores), *milliseconds), bundle, flags))
        return
    machines = [Machine(cores, model, options.decoding) for model in options.model for cores in options.cores]
    rounds = [[measure(machine, bundle, flags) for machine in machines] for _ in range(options.rounds)]
    print(f"one process, medians of {len(rounds)} rounds\n\n cores   model     ideal        reached")
    for machine, shares in zip(machines, zip(*rounds, strict=True), strict=True):
        print(
            f"{machine.cores:6} {machine.model:4.1f} ms {machine.images_per_second:7,.0f}/s   "
            f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        )
    if options.json:
        described = [machine._asdict() for machine in machines]
        options.json.write_text(json.dumps({"machines": described, "shares": rounds}, indent=2))


def measure(machine: Machine, bundle: str, flags: Sequence[str]) -> float:
    """Measure a machine's share in a separate process."""
    command = [sys.executable, "-m", "benchmarks.cores", "--bundle", bundle, "--run", *map(str, machine), *flags]
    return float(subprocess.check_output(command, text=True).splitlines()[-1])


def share(machine: Machine, bundle: str, flags: Sequence[str]) -> float:
    """Run the job on a simulated machine, and return the share of the ideal rate reached, excluding start-up."""
    count = int(SECONDS * machine.images_per_second)
    with ExitStack() as fakes:
        fakes.enter_context(patch.object(os, "sched_getaffinity", lambda pid: range(machine.cores)))
        # The first run also imports modules.
        _, start, whole = (run(machine, images, bundle, flags) for images in (1, 1, count))
    return (count - 1) / (whole - start) / machine.images_per_second


def run(machine: Machine, count: int, bundle: str, flags: Sequence[str]) -> float:
    """Tag `count` simulated images, and return the duration in seconds."""
    waiting = WaitingInterpreter(machine.model / 1e3, len(load_labels(bundle)))

    def open_engine(bundle: Bundle, engine: str, threads: int | None, embeds: bool, precision: str) -> Engine:
        with patch("ai_edge_litert.interpreter.Interpreter", lambda **settings: waiting):
            return LiteRTEngine(b"", threads)

    def decode_slowly(data: bytes, settings: DecodeSettings) -> Resized:
        time.sleep(machine.decoding / 1e3)
        return decode(data, settings)

    with tempfile.TemporaryDirectory() as output:
        argv = [f"--model={bundle}", f"--output={output}", "--progress=off", *flags]
        began = time.perf_counter()
        exit_code = simulate(count, argv, open_engine, decode_slowly)
        if exit_code:
            sys.exit(exit_code)
        return time.perf_counter() - began


class WaitingInterpreter:
    """A fake LiteRT interpreter that sleeps instead of computing, and copies what a real one would."""

    def __init__(self, seconds: float, labels: int) -> None:
        self._seconds = seconds
        self._probabilities = np.zeros((1, labels), np.float32)

    def allocate_tensors(self) -> None:
        pass

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 1, "shape": self._probabilities.shape}]

    def set_tensor(self, index: int, pixels: Any) -> None:
        pixels.copy()

    def invoke(self) -> None:
        time.sleep(self._seconds)

    def get_tensor(self, index: int) -> Any:
        return self._probabilities.copy()


def load_labels(bundle: str) -> list[str]:
    """Read the labels of a bundle."""
    labels: list[str] = json.loads((Path(bundle) / "bundle.json").read_text())["labels"]
    return labels


if __name__ == "__main__":
    main()
