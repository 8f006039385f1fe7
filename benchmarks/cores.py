"""Measure how many cores one process keeps busy, and several: `python -m benchmarks.cores`.

The whole job runs over simulated images on a simulated machine: it has an interpreter and a thread that decodes per
core, which sleep as long as their work would take. Sleeping takes no core, so two real cores show what many would do,
as long as Python itself, which runs on one core at a time in each process, needs less. What counts is the share of
the rate that the cores would reach if they never waited; where the real cores are busy, look at the core time of the
launching process, which all images pass through, and of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks.material import small_bundle
from benchmarks.simulated import decode, simulate, simulated
from pipelines.images.decoding import DecodeSettings, Resized
from pipelines.inference.bundle import Bundle
from pipelines.inference.engines import Engine
from pipelines.inference.litert_engine import LiteRTEngine
from pipelines.job import child

SECONDS = 10
"""Ideal duration of a run, excluding start-up."""
MOST = 60_000
"""Images of a run."""
_MACHINE = "SIMULATED_MACHINE"
"""The variable that tells child processes which machine they simulate."""


class Machine(NamedTuple):
    """A simulated machine.

    Attributes:
      cores: number of cores.
      processes: that share them.
      model: core-milliseconds of the model per image.
      decoding: core-milliseconds of decoding and resizing per image.
    """

    cores: int
    processes: int
    model: float
    decoding: float

    @property
    def images_per_second(self) -> float:
        """Rate of its cores if they never wait."""
        return 1e3 * self.cores / (self.model + self.decoding)

    @classmethod
    def of_environment(cls) -> Machine:
        """Return the machine that the launching process simulates."""
        return cls(*json.loads(os.environ[_MACHINE]))


class Measured(NamedTuple):
    """What a run has reached, without its start.

    Attributes:
      share: of the ideal rate.
      launching: core-milliseconds of the launching process per image.
      others: core-milliseconds of its child processes per image.
    """

    share: float
    launching: float
    others: float


def main() -> None:
    """Measure, print a table, and optionally write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=__doc__)
    parser.add_argument("--bundle", help="a bundle, for its labels (default: alpha 0.35 at 32 px, hardly trained)")
    parser.add_argument("--cores", type=int, nargs="+", default=(8, 16, 32, 64), help="cores of the simulated machines")
    parser.add_argument("--each", type=int, nargs="+", default=(0, 8), help="cores per process; 0 for a single process")
    parser.add_argument("--model", type=float, nargs="+", default=(2.7, 1.3), help="ms per image (default 2.7 and 1.3)")
    parser.add_argument("--decoding", type=float, default=0.5, help="ms per image (default 0.5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure (default 3)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--run", type=float, nargs=4, help=argparse.SUPPRESS)
    options, flags = parser.parse_known_args()

    bundle = options.bundle or str(small_bundle())
    if options.run:
        cores, count, *milliseconds = options.run
        print(json.dumps(reached(Machine(int(cores), int(count), *milliseconds), bundle, flags)))
        return
    machines = [
        Machine(cores, count, model, options.decoding)
        for model in options.model
        for cores in options.cores
        for count in sorted({cores // each if each else 1 for each in options.each} - {0})
    ]
    rounds = [[measure(machine, bundle, flags) for machine in machines] for _ in range(options.rounds)]
    print(f"medians of {len(rounds)} rounds\n\n cores  processes   model     ideal        reached            core-ms")
    for machine, measured in zip(machines, zip(*rounds, strict=True), strict=True):
        share, launching, others = (statistics.median(figures) for figures in zip(*measured, strict=True))
        shares = [figures.share for figures in measured]
        print(
            f"{machine.cores:6} {machine.processes:10} {machine.model:4.1f} ms {machine.images_per_second:7,.0f}/s   "
            f"{share:.2f} ({min(shares):.2f} to {max(shares):.2f})   {launching:.3f} + {others:.3f}"
        )
    if options.json:
        described = [machine._asdict() for machine in machines]
        options.json.write_text(json.dumps({"machines": described, "rounds": rounds}, indent=2))


def measure(machine: Machine, bundle: str, flags: Sequence[str]) -> Measured:
    """Measure a machine in a separate process."""
    command = [sys.executable, "-m", "benchmarks.cores", "--bundle", bundle, "--run", *map(str, machine), *flags]
    return Measured(*json.loads(subprocess.check_output(command, text=True).splitlines()[-1]))


def reached(machine: Machine, bundle: str, flags: Sequence[str]) -> Measured:
    """Run the job on a simulated machine, and return what it has reached, excluding start-up."""
    count = min(MOST, int(SECONDS * machine.images_per_second))
    with ExitStack() as fakes:
        fakes.enter_context(patch.object(os, "sched_getaffinity", lambda pid: range(machine.cores)))
        fakes.enter_context(patch.object(child, "PROGRAM", "benchmarks.simulated_process"))
        fakes.enter_context(patch.dict(os.environ, {_MACHINE: json.dumps(machine)}))
        # The first run also imports modules.
        _, start, whole = (run(machine, images, bundle, flags) for images in (1, 1, count))
    seconds, launching, others = ((long - short) / (count - 1) for long, short in zip(whole, start, strict=True))
    return Measured(1 / seconds / machine.images_per_second, 1e3 * launching, 1e3 * others)


def run(machine: Machine, count: int, bundle: str, flags: Sequence[str]) -> Sequence[float]:
    """Tag `count` simulated images; return the seconds that passed, and of cores, in this process and its children."""
    with tempfile.TemporaryDirectory() as output:
        argv = [f"--model={bundle}", f"--output={output}", "--progress=off", f"--processes={machine.processes}", *flags]
        began = clocks()
        exit_code = simulate(count, argv, opening(machine), decoding(machine))
        if exit_code:
            sys.exit(exit_code)
        return [now - before for now, before in zip(clocks(), began, strict=True)]


def clocks() -> Sequence[float]:
    """Return the time, and the core time of this process and of its children that have ended, in seconds."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [time.perf_counter(), *(usage.ru_utime + usage.ru_stime for usage in used)]


@contextmanager
def at_work(machine: Machine) -> Iterator[None]:
    """Have this process work as one on a simulated machine."""
    with simulated(opening(machine), decoding(machine)):
        yield


def opening(machine: Machine) -> Any:
    """Return what opens the machine's engine."""

    def open_engine(bundle: Bundle, engine: str, threads: int | None, embeds: bool, precision: str) -> Engine:
        waiting = WaitingInterpreter(machine.model / 1e3, len(bundle.labels))
        with patch("ai_edge_litert.interpreter.Interpreter", lambda **settings: waiting):
            return LiteRTEngine(b"", threads)

    return open_engine


def decoding(machine: Machine) -> Any:
    """Return what decodes on the machine."""

    def decode_slowly(data: bytes, settings: DecodeSettings) -> Resized:
        time.sleep(machine.decoding / 1e3)
        return decode(data, settings)

    return decode_slowly


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


if __name__ == "__main__":
    main()
