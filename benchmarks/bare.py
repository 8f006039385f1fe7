"""Benchmark the parts of the job separately: `python -m benchmarks.bare`.

The engine runs on decoded pixels, alternating between two setups: one interpreter with a thread per core, as its
documentation shows, and our own pool of single-threaded ones. Decoding and resizing run on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.images.decoding import decode, resize
from pipelines.inference.bundle import LITERT_MODEL, Bundle, load_bundle
from pipelines.inference.engines import LiteRTEngine
from pipelines.supervision.machine import available_cores

BATCH = 32
_BATCHES_PER_TURN = 4

Predict = Callable[[NDArray[np.uint8]], Any]


class Bare(NamedTuple):
    """Rates of the parts, in images per second.

    Attributes:
      interpreter: one LiteRT interpreter with a thread per core, batches of 32.
      pool: single-threaded interpreters, one per core, batches of 32.
      decode: decoding, on one core.
      resize: resizing, on one core.
    """

    interpreter: float
    pool: float
    decode: float
    resize: float

    @property
    def better(self) -> float:
        """Return the rate of the faster setup of the engine."""
        return max(self.interpreter, self.pool)


def main() -> None:
    """Measure, and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="a file with one path per line")
    parser.add_argument("--model", required=True, help="a bundle")
    parser.add_argument("--output", type=Path, required=True, help="folder for bare.json")
    options = parser.parse_args()
    files = [Path(path).read_bytes() for path in options.images.read_text().splitlines()]
    measured = measure(load_bundle(options.model), files)
    (options.output / "bare.json").write_text(json.dumps(measured._asdict()))


def measure(bundle: Bundle, files: list[bytes]) -> Bare:
    """Measure the parts with these image files, rounded to whole batches."""
    files = files * -(-BATCH // len(files))
    files = files[: len(files) // BATCH * BATCH]
    began = time.perf_counter()
    decoded = [decode(data).pixels for data in files]
    decoding = time.perf_counter() - began
    began = time.perf_counter()
    pixels = np.stack([resize(image, bundle.image_size, bundle.resize_filter) for image in decoded])
    resizing = time.perf_counter() - began
    del decoded
    model = bundle.read(LITERT_MODEL)
    interpreter, pool = seconds_in_turn(
        [one_interpreter(model, pixels.shape[1:]), open_pool(model, available_cores())], pixels
    )
    return Bare(*(len(files) / seconds for seconds in (interpreter, pool, decoding, resizing)))


def seconds_in_turn(ways: list[Predict], pixels: NDArray[np.uint8]) -> list[float]:
    """Run all pixels, uint8[N, S, S, 3], through each setup, taking turns every few batches; return their seconds."""
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    for predict in ways:
        predict(batches[0])
    seconds = [0.0] * len(ways)
    for start in range(0, len(batches), _BATCHES_PER_TURN):
        for index, predict in enumerate(ways):
            began = time.perf_counter()
            for batch in batches[start : start + _BATCHES_PER_TURN]:
                predict(batch)
            seconds[index] += time.perf_counter() - began
    return seconds


def open_pool(model: bytes, threads: int) -> Predict:
    """Open our engine with a thread per interpreter; the threads share the images of a batch."""
    engine, executor = LiteRTEngine(model, threads), ThreadPoolExecutor(threads)
    return lambda pixels: np.concatenate(list(executor.map(engine.predict, np.split(pixels, len(pixels)))))


def one_interpreter(model: bytes, shape: tuple[int, ...]) -> Predict:
    """Build one interpreter with a thread per core, for whole batches of images of this shape."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=available_cores())
    [source], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(source["index"], (BATCH, *shape))
    interpreter.allocate_tensors()

    def predict(pixels: NDArray[np.uint8]) -> Any:
        interpreter.set_tensor(source["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return predict


if __name__ == "__main__":
    main()
