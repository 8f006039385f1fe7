"""Measure the job against the bare engine: `python -m benchmarks.throughput`.

Every round measures each rate once, in turn, so that a machine whose speed drifts disturbs all of them alike. What
counts are the ratios within a round; the rates alone say little on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import large_bundle, synthetic_chips
from pipelines.bundle import LITERT_MODEL, Bundle, load_bundle
from pipelines.engines import LiteRTEngine, available_cores
from pipelines.images import decode, resize

BATCH = 32


class Round(NamedTuple):
    """Rates of one round, in images a second.

    Attributes:
      engine: the bundle's LiteRT file alone, on pixels that are ready; the better of one interpreter with a thread a
        core, and one interpreter a core.
      decoding: decoding and resizing on one core.
      job: `scenetags predict` without the time that it takes for a single image.
      job_and_start: `scenetags predict`, the whole process.
      start: seconds of `scenetags predict` for a single image.
    """

    engine: float
    decoding: float
    job: float
    job_and_start: float
    start: float


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--model", help="a bundle; by default alpha 1.0 at 224 px, hardly trained")
    parser.add_argument("--images", help="a folder of images; by default synthetic chips of 256 px")
    parser.add_argument("--count", type=int, default=1000, help="synthetic chips to draw (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to measure (default 5)")
    parser.add_argument("--json", type=Path, help="also write the rounds to this file")
    options = parser.parse_args()

    bundle = load_bundle(options.model or str(large_bundle()))
    paths = sorted(Path(options.images or synthetic_chips(options.count)).iterdir())
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append(measure(bundle, paths))
        print(f"round {number}: " + ", ".join(f"{k} {v:.1f}" for k, v in rounds[-1]._asdict().items()), flush=True)
    print(report(rounds, len(paths)))
    if options.json:
        options.json.write_text(json.dumps([measured._asdict() for measured in rounds], indent=2))


def measure(bundle: Bundle, paths: list[Path]) -> Round:
    """Measure each rate once."""
    files = [path.read_bytes() for path in paths[:640]]
    began = time.perf_counter()
    pixels = np.stack([resize(decode(data).pixels, bundle.image_size, bundle.resize_filter) for data in files])
    decoding = len(files) / (time.perf_counter() - began)
    engine = max(rate_of_pool(bundle, pixels), rate_of_one_interpreter(bundle, pixels))
    start = seconds_of_job(bundle, paths[0])
    whole = seconds_of_job(bundle, paths[0].parent)
    return Round(engine, decoding, (len(paths) - 1) / (whole - start), len(paths) / whole, start)


def rate_of_pool(bundle: Bundle, pixels: NDArray[np.uint8]) -> float:
    """Rate of the engine that the job uses."""
    engine = LiteRTEngine(bundle.read(LITERT_MODEL))
    engine.predict(pixels[:BATCH])
    began = time.perf_counter()
    for start in range(0, len(pixels), BATCH):
        engine.predict(pixels[start : start + BATCH])
    return len(pixels) / (time.perf_counter() - began)


def rate_of_one_interpreter(bundle: Bundle, pixels: NDArray[np.uint8]) -> float:
    """Rate of one LiteRT interpreter with a thread for each core, as its documentation shows it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=bundle.read(LITERT_MODEL), num_threads=available_cores())
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, (BATCH, *pixels.shape[1:]))
    interpreter.allocate_tensors()
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels) - BATCH + 1, BATCH)]
    interpreter.set_tensor(index, batches[0])
    interpreter.invoke()
    began = time.perf_counter()
    for batch in batches:
        interpreter.set_tensor(index, batch)
        interpreter.invoke()
    return len(batches) * BATCH / (time.perf_counter() - began)


def seconds_of_job(bundle: Bundle, images: Path) -> float:
    """Time of the whole command, from an empty output."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "pipelines.predict", "--engine", "litert", "--progress", "off"]
        flags = ["--input", str(images), "--model", bundle.path, "--output", output]
        began = time.perf_counter()
        subprocess.run([*command, *flags], check=True, capture_output=True)
        return time.perf_counter() - began


def report(rounds: list[Round], count: int) -> str:
    """Lay the rounds out: median rates, and the median ratio to the bare engine with its range."""
    lines = [f"{count:,} images, {available_cores()} cores, medians of {len(rounds)} rounds", ""]
    for title, name in (
        ("bare engine", "engine"),
        ("scenetags predict, start-up excluded", "job"),
        ("scenetags predict, whole process", "job_and_start"),
    ):
        rates = [getattr(measured, name) for measured in rounds]
        ratios = [getattr(measured, name) / measured.engine for measured in rounds]
        lines.append(
            f"{title:38} {statistics.median(rates):7.1f} images/s   {statistics.median(ratios):.2f} of the engine "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    decoding = statistics.median(measured.decoding for measured in rounds)
    lines.append(f"{'decoding and resizing, one core':38} {decoding:7.1f} images/s")
    lines.append(f"{'start to finish of a single image':38} {statistics.median(r.start for r in rounds):7.1f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
