"""Measure a distributed run on simulated archives of millions of images: `python -m benchmarks.scale`.

A fake bucket lists the images, nine tenths of which have rows of an earlier run; the others are neither read nor
computed on, as in `benchmarks.simulated`. Beam's portable runner runs the job with two workers, each a process of its
own, and keeps on disk what crosses between steps, as a cluster does. What counts is the peak memory of each process,
and whether core time per name grows with the archive.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.material import ROOT, environment, small_bundle
from benchmarks.simulated import ARCHIVE, FAILING, check, fingerprint_of, key_of, simulated, simulated_bucket
from pipelines.inference.bundle import load_bundle
from pipelines.output.run import PREDICTIONS, Run, new_run_name
from pipelines.output.tables import PARQUET_OPTIONS, ROWS_PER_GROUP
from pipelines.output.writing import PredictionTable
from pipelines.records import ImageRef, Prediction
from tools.workers import Cluster, job_service, worker_pool

SIZES = (1_000_000, 10_000_000)
WORKERS = 2
MEGABYTES, GROWTH = 600.0, 1.15
"""Goals: the peak memory of each process, and core time per name relative to that of the smaller archive."""

_COUNT = "SIMULATED_IMAGES"
"""The variable that holds the number of images."""
_HOOK = """\
from benchmarks.scale import simulate_here

simulate_here()
"""
_ROWS_PER_FILE = 1_000_000
_KINDS = {"parallel_jobs": "runner", "sdk_worker": "worker", "pipelines.predict": "launching process"}
_SECONDS_BETWEEN_LOOKS = 0.5


class Cost(NamedTuple):
    """What a run took.

    Attributes:
      seconds: wall-clock time.
      core_seconds: of all processes, without start-up.
      peaks: megabytes of resident memory, the most of any process of each kind.
    """

    seconds: float
    core_seconds: float
    peaks: dict[str, float]


def main() -> int:
    """Measure, print a table, and optionally write JSON; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images per archive, in increasing order")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()

    bundle = small_bundle()
    start = measure(1, bundle).core_seconds
    costs = []
    for count in options.sizes:
        cost = measure(count, bundle)
        costs.append(cost._replace(core_seconds=cost.core_seconds - start))
        memory = ", ".join(f"{kind} {peak:.0f} MB" for kind, peak in sorted(cost.peaks.items()))
        each = 1e6 * costs[-1].core_seconds / count
        print(f"{count:12,} images: {cost.seconds:6.0f} s, {each:5.1f} µs of a core per name; {memory}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([cost._asdict() for cost in costs], indent=2))
    each = [cost.core_seconds / count for cost, count in zip(costs, options.sizes, strict=True)]
    growth, peak = each[-1] / each[0], max(max(cost.peaks.values()) for cost in costs)
    print(f"{growth:.2f} times the core time per name of the smallest archive; goal: at most {GROWTH}")
    print(f"{peak:.0f} MB at most in any process; goal: at most {MEGABYTES:.0f}")
    return int(growth > GROWTH or peak > MEGABYTES)


def measure(count: int, bundle: Path) -> Cost:
    """Tag an archive of which nine tenths have rows, and check every row."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as serving:
        folder = Path(place)
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(_HOOK)
        output = folder / "out"
        write_earlier(output, bundle, range(count * 9 // 10))
        search = {"PYTHONPATH": os.pathsep.join([str(folder / "hook"), str(ROOT)]), _COUNT: str(count)}
        cluster = Cluster(
            serving.enter_context(job_service(folder / "jobs", WORKERS)),
            serving.enter_context(worker_pool(folder / "workers", search)),
        )
        command = [sys.executable, "-m", "pipelines.predict", f"--input={ARCHIVE}", f"--model={bundle}"]
        command += [
            f"--output={output}",
            "--progress=off",
            *cluster.flags,
            "--job_server_timeout=7200",
        ]
        watch = Watch()
        begun = time.perf_counter()
        ran = subprocess.run(command, env=environment() | search, stdout=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - begun
        core_seconds, peaks = watch.stop()
        if ran.returncode:
            sys.exit(f"{' '.join(command)} ended with exit code {ran.returncode}; {cluster.workers.tail}")
        check(str(output), count)
    return Cost(seconds, core_seconds, peaks)


def simulate_here() -> None:
    """Let this process work on images that do not exist, as many as its environment says."""
    if _COUNT in os.environ and any(kind in " ".join(sys.orig_argv) for kind in ("sdk_worker", "pipelines.predict")):
        fakes = ExitStack()
        atexit.register(fakes.close)
        fakes.enter_context(simulated_bucket(int(os.environ[_COUNT])))
        fakes.enter_context(simulated())


def write_earlier(output: Path, bundle_path: Path, numbers: range) -> None:
    """Write rows of an earlier run for all of these images but those that fail."""
    bundle = load_bundle(str(bundle_path))
    run = Run(new_run_name(), str(output), bundle, bundle.thresholds)
    probabilities = np.random.default_rng(0).random((ROWS_PER_GROUP, len(bundle.labels)), np.float32)
    refs = (ImageRef(f"{number}", 1, "") for number in range(ROWS_PER_GROUP))
    rows = [Prediction(ref, 256, 256, "jpeg 4x8", (), row) for ref, row in zip(refs, probabilities, strict=True)]
    template, _ = PredictionTable().lay_out(rows, run)
    tagged = [number for number in numbers if number % FAILING != FAILING - 1]
    for start in range(0, len(tagged), _ROWS_PER_FILE):
        path = output / PREDICTIONS / f"{run.name}-{start}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, template.schema, **PARQUET_OPTIONS) as writer:
            for group in _groups(tagged[start : start + _ROWS_PER_FILE]):
                table = template.slice(0, len(group))
                for name, values in (
                    ("path", [f"gs://simulated/{key_of(number)}" for number in group]),
                    ("fingerprint", [fingerprint_of(number) for number in group]),
                ):
                    table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
                writer.write_table(table.cast(template.schema))


def _groups(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + ROWS_PER_GROUP] for start in range(0, len(numbers), ROWS_PER_GROUP))


class Watch:
    """Looks at all processes that this one has started, until it is stopped."""

    def __init__(self) -> None:
        """Begin to look."""
        self._stopped = threading.Event()
        self._core_seconds: dict[tuple[int, str], float] = {}
        self._peaks: dict[str, float] = {}
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> tuple[float, dict[str, float]]:
        """Return core time of all processes, and the peak memory of each kind in megabytes."""
        self._stopped.set()
        self._thread.join()
        return sum(self._core_seconds.values()), self._peaks

    def _look(self) -> None:
        while not self._stopped.wait(_SECONDS_BETWEEN_LOOKS):
            for process in _descendants():
                try:
                    command = Path(f"/proc/{process}/cmdline").read_text()
                    status = Path(f"/proc/{process}/status").read_text()
                    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                kind = next((kind for part, kind in _KINDS.items() if part in command), None)
                if kind is None or "VmHWM" not in status:
                    continue
                # With its start: numbers of processes are used again.
                ticks = int(fields[11]) + int(fields[12])
                self._core_seconds[process, fields[19]] = ticks / os.sysconf("SC_CLK_TCK")
                peak = int(status.split("VmHWM:")[1].split()[0]) / 1e3
                self._peaks[kind] = max(peak, self._peaks.get(kind, 0))


def _descendants() -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


if __name__ == "__main__":
    sys.exit(main())
