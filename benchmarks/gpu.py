"""Measure `--engine tensorflow` on a GPU: `python -m benchmarks.gpu`, in less than ten minutes.

The engine alone, in each precision, with and without XLA, by batch size and by batches in flight; decoding alone, on
all cores; engine and decoders in one loop; and the job. Every way to run the engine gets a process of its own, because
TensorFlow settles precision and compiler at its start. Pixels go to the card as uint8, as in the job.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu_engine import (
    BATCH,
    BATCHES,
    IN_FLIGHT,
    WAYS,
    Decoding,
    Measured,
    Way,
    measure,
    measure_decoding,
    settings_of,
)
from benchmarks.material import environment, large_bundle, synthetic_chips, write_list
from benchmarks.processes import CommandError, run
from pipelines.inference.bundle import load_bundle
from pipelines.supervision.machine import available_cores

_LIMIT = 150.0


class Job(NamedTuple):
    """A run of the job.

    Attributes:
      batch: images per call of the engine.
      calls: of the engine at the same time; several processes have two each.
      processes: that share the GPU.
    """

    batch: int
    calls: int
    processes: int = 1


_ALONE = (Job(32, 1), Job(32, 2), Job(128, 1), Job(128, 2), Job(256, 2), Job(1024, 2))
JOBS = (*_ALONE, Job(128, 2, processes=2), Job(128, 2, processes=4))

# The job as installed, but with another number of concurrent calls.
_WITH_CALLS = """
import sys
from pipelines.cli import main
from pipelines.inference.tensorflow_engine import TensorFlowEngine
calls, begin = int(sys.argv.pop(1)), TensorFlowEngine.__init__

def begin_with_calls(engine, *arguments):
    begin(engine, *arguments)
    engine.calls = calls

TensorFlowEngine.__init__ = begin_with_calls
sys.exit(main())
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and optionally write JSON; return 1 if there is no GPU that TensorFlow can use."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--model", help="a local bundle (default: alpha 1.0 at 224 px, hardly trained)")
    parser.add_argument("--images", type=Path, help="a folder of images (default: 200 synthetic chips of 256 px)")
    parser.add_argument("--count", type=int, default=20000, help="images of a job, by repetition (default 20000)")
    parser.add_argument("--seconds", type=float, default=1.5, help="duration of a measurement (default 1.5)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--run", nargs=2, metavar=("PRECISION", "XLA"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)

    if not options.run and (missing := what_is_missing()):
        print(f"nothing to measure: {missing}", file=sys.stderr)
        return 1
    model = options.model or str(large_bundle())
    chips = sorted((options.images or synthetic_chips(200)).resolve().iterdir())[: max(BATCHES)]
    if options.run:
        precision, xla = options.run
        print(json.dumps(measure(load_bundle(model), chips, Way(precision, xla == "on"), options.seconds)))
        return 0
    flags = [f"--model={model}", f"--images={chips[0].parent}", f"--seconds={options.seconds}"]
    print(f"{processor()}, {available_cores()} cores; images/s", flush=True)
    decoding = measure_decoding(settings_of(load_bundle(model)), chips, options.seconds)
    print(f"decoding alone: {decoding.threads:,.0f} in threads, {decoding.processes:,.0f} in processes", flush=True)
    jobs, ways = measure_jobs(model, chips, options.count), measure_ways(flags)
    if options.json:
        options.json.write_text(json.dumps(_as_json(decoding, ways, jobs), indent=2))
    return 0


def measure_ways(flags: Sequence[str]) -> dict[Way, Measured]:
    """Measure the engine in each way that works here, and print a table."""
    heads = [*map(str, BATCHES), *(f"{BATCH} x{calls}" for calls in IN_FLIGHT), "decoding"]
    print(f"\nengine      start  differs {' '.join(f'{head:>8}' for head in heads)}", flush=True)
    ways: dict[Way, Measured] = {}
    for way in WAYS:
        name = f"{way.precision:7} {'XLA' if way.xla else '   '}"
        try:
            measured = ways[way] = measure_apart(way, flags)
        except CommandError as error:
            print(f"{name} failed: {_last(error)}", flush=True)
            continue
        rates = [*measured.alone, *measured.in_flight, measured.beside]
        figures = " ".join(f"{'-' if rate is None else f'{rate:,.0f}':>8}" for rate in rates)
        print(f"{name} {measured.start:4.0f} s {measured.difference:8.1e} {figures}  {measured.card}", flush=True)
    return ways


def measure_jobs(model: str, chips: Sequence[Path], count: int) -> dict[Job, float]:
    """Run the jobs that work here on so many images, and print a table."""
    print(f"\njob, {count:,} images  batch  calls  processes  images/s, excluding start-up", flush=True)
    jobs: dict[Job, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}{chips[number % len(chips)].suffix}") for number in range(count)]
        for number, path in enumerate(paths):
            path.symlink_to(chips[number % len(chips)])

        @cache
        def start(batch: int, processes: int) -> float:
            return run_job(Job(batch, 1, processes), model, paths[: batch * processes])

        for job in JOBS:
            try:
                seconds = run_job(job, model, paths) - start(job.batch, job.processes)
                jobs[job] = _rate(count - job.batch * job.processes, seconds)
                reached = f"{jobs[job]:,.0f}"
            except CommandError as error:
                reached = f"failed: {_last(error)}"
            print(f"{job.batch:26} {job.calls:6} {job.processes:10}  {reached}", flush=True)
    return jobs


def what_is_missing() -> str:
    """Say why TensorFlow cannot use a GPU here; empty if it can.

    In a process of its own, since a process that has opened a GPU keeps its memory.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return "TensorFlow is not installed; run pip install 'scenetags[gpu]'"
    ask = "import sys, tensorflow; sys.exit(not tensorflow.config.list_physical_devices('GPU'))"
    found = subprocess.run([sys.executable, "-c", ask], env=_environment(), capture_output=True, check=False)
    return "TensorFlow finds no GPU" if found.returncode else ""


def measure_apart(way: Way, flags: Sequence[str]) -> Measured:
    """Measure a way in a process of its own.

    Raises:
      CommandError: it failed, e.g. because the card's memory is too small.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.txt")
        command = [sys.executable, "-m", "benchmarks.gpu", "--run", way.precision, "on" if way.xla else "off", *flags]
        run(command, _environment(), log, limit=_LIMIT)
        # TensorFlow says things of its own before and after.
        return Measured(*json.loads(next(line for line in log.read_text().splitlines() if line.startswith("["))))


def processor() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a processor")


def run_job(job: Job, model: str, paths: Sequence[Path]) -> float:
    """Run a job on these images, and return its seconds.

    Raises:
      CommandError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        images = write_list(Path(folder, "images.txt"), [str(path) for path in paths])
        command = [sys.executable, "-c", _WITH_CALLS, str(job.calls), "predict", "--engine=tensorflow"]
        command += [f"--batch_size={job.batch}", f"--input_list={images}", f"--model={model}", "--progress=off"]
        command += [f"--output={folder}/tagged", f"--processes={job.processes}"]
        return run(command, _environment(), Path(folder, "log.txt"), limit=_LIMIT).seconds


def _rate(images: int, seconds: float) -> float:
    if seconds <= 0:
        raise CommandError(f"too few images: {images} took no longer than the start")
    return images / seconds


def _environment() -> dict[str, str]:
    return environment() | {"TF_CPP_MIN_LOG_LEVEL": "2"}


def _last(error: CommandError) -> str:
    return str(error).splitlines()[-1][:150]


def _as_json(decoding: Decoding, ways: dict[Way, Measured], jobs: dict[Job, float]) -> dict[str, object]:
    return {
        "decoding": decoding._asdict(),
        "ways": [way._asdict() | measured._asdict() for way, measured in ways.items()],
        "jobs": [job._asdict() | {"rate": rate} for job, rate in jobs.items()],
    }


if __name__ == "__main__":
    sys.exit(main())
