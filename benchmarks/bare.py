"""Benchmark the parts of the job separately: `python -m benchmarks.bare`.

The engines run on decoded pixels, alternating between their setups: one LiteRT interpreter with a thread per core, as
its documentation shows, our own pool of single-threaded ones, OpenVINO with its own queue of requests, in each
precision that this machine has, and our own pool in bfloat16. Decoding and resizing run on one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.images.decoding import decode, resize
from pipelines.inference import openvino_engine, openvino_runtime
from pipelines.inference.bundle import LITERT_MODEL, Bundle, load_bundle
from pipelines.inference.engines import Engine, open_engine
from pipelines.inference.litert_engine import LiteRTEngine
from pipelines.inference.processor import bfloat16_units
from pipelines.supervision.machine import available_cores
from pipelines.supervision.temporary import temporary_folder

BATCH = 32
_BATCHES_PER_TURN = 4

INTERPRETER, POOL = "one LiteRT interpreter, a thread per core", "our pool, an interpreter per core"
QUEUE, BFLOAT16_QUEUE = "OpenVINO's own queue", "OpenVINO's own queue, bfloat16"
BFLOAT16_POOL = "our pool, a compiled model per core, bfloat16"
"""Unlike the queue, it keeps a few layers in float32 (`rounding`), so that fewer tags change."""

Predict = Callable[[NDArray[np.uint8]], Any]


class Bare(NamedTuple):
    """Rates of the parts, in images per second.

    Attributes:
      engines: of each setup of an engine, on batches of 32.
      decode: decoding, on one core.
      resize: resizing, on one core.
    """

    engines: Mapping[str, float]
    decode: float
    resize: float

    def with_decoding(self, engine: str) -> float:
        """Return the rate at which all cores would decode, resize and run an engine, if nothing else took time."""
        return 1 / (1 / self.engines[engine] + (1 / self.decode + 1 / self.resize) / available_cores())


def mean(one: Bare, other: Bare) -> Bare:
    """Average the times of two measurements."""

    def average(one: float, other: float) -> float:
        return 2 / (1 / one + 1 / other)

    engines = {name: average(rate, other.engines[name]) for name, rate in one.engines.items()}
    return Bare(engines, average(one.decode, other.decode), average(one.resize, other.resize))


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
    pixels = np.empty((len(files), bundle.image_size, bundle.image_size, 3), np.uint8)
    decode_all(bundle, files, pixels)  # the first time, the system still has to find memory for the pixels
    decoding, resizing = decode_all(bundle, files, pixels)
    ways = open_all(bundle, pixels.shape[1:])
    seconds = seconds_in_turn(list(ways.values()), pixels)
    rates = (len(files) / taken for taken in seconds)
    return Bare(dict(zip(ways, rates, strict=True)), len(files) / decoding, len(files) / resizing)


def decode_all(bundle: Bundle, files: Sequence[bytes], pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Decode and resize images one after another, and return the seconds that each of the two took.

    As in a job, the memory of one image is that of the next: to keep all decoded ones took up to twice as long.

    Args:
      bundle: says how to resize.
      files: of the images.
      pixels: uint8[N, S, S, 3], is filled.
    """
    decoding = resizing = 0.0
    for data, place in zip(files, pixels, strict=True):
        began = time.perf_counter()
        image = decode(data).pixels
        decoded = time.perf_counter()
        place[:] = resize(image, bundle.image_size, bundle.resize_filter)
        resized = time.perf_counter()
        decoding, resizing = decoding + decoded - began, resizing + resized - decoded
    return decoding, resizing


def open_all(bundle: Bundle, shape: tuple[int, ...]) -> dict[str, Predict]:
    """Open every setup that this machine has, for images of this shape."""
    model, threads = bundle.read(LITERT_MODEL), available_cores()
    ways = {INTERPRETER: one_interpreter(model, shape), POOL: share(LiteRTEngine(model, threads), threads)}
    if importlib.util.find_spec("openvino"):
        ways[QUEUE] = own_queue(model, "f32")
        if bfloat16_units():
            ways[BFLOAT16_QUEUE] = own_queue(model, "bf16")
            ways[BFLOAT16_POOL] = share(open_engine(bundle, threads=threads, precision="bfloat16"), threads)
    return ways


def seconds_in_turn(ways: Sequence[Predict], pixels: NDArray[np.uint8]) -> list[float]:
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


def share(engine: Engine, threads: int) -> Predict:
    """Give the images of a batch to an engine from as many threads."""
    executor = ThreadPoolExecutor(threads)
    return lambda pixels: np.concatenate(list(executor.map(engine.predict, np.split(pixels, len(pixels)))))


def own_queue(model: bytes, hint: str) -> Predict:
    """Compile a model as OpenVINO's documentation shows for throughput, for one image per request.

    Args:
      model: the LiteRT file's bytes.
      hint: `f32` or `bf16`, in which OpenVINO rounds by itself.
    """
    core = openvino_runtime.load_core()
    with temporary_folder() as folder:
        graph = openvino_engine._read(core, model, folder)
        how = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": hint}
        compiled = core.compile_model(graph, "CPU", how)
    queue = openvino_runtime.import_openvino().AsyncInferQueue(compiled)

    def predict(pixels: NDArray[np.uint8]) -> Any:
        probabilities = np.empty((len(pixels), compiled.output(0).shape[-1]), np.float32)

        def keep(request: Any, place: int) -> None:
            probabilities[place] = request.get_output_tensor().data[0]

        queue.set_callback(keep)
        for place in range(len(pixels)):
            queue.start_async(pixels[place : place + 1], place)
        queue.wait_all()
        return probabilities

    return predict


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
