"""Measure an engine on a GPU, alone and beside decoders, for `benchmarks.gpu`."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.images.decoding import DecodeSettings, decode_resized
from pipelines.inference.bundle import SAVED_MODEL, Bundle
from pipelines.inference.engines import Engine
from pipelines.inference.tensorflow_engine import TensorFlowEngine
from pipelines.supervision.machine import available_cores
from pipelines.supervision.temporary import temporary_folder

BATCHES = (8, 32, 128, 256, 1024)
IN_FLIGHT = (2, 4)
BATCH = 256
"""Images per call where several batches are in flight, decoders run beside the engine, or XLA compiles: it compiles
each size anew, for up to half a minute."""


class Way(NamedTuple):
    """How TensorFlow runs the model.

    Attributes:
      precision: `float32`; `tf32`, in which products keep 11 bits; or `float16`, in which TensorFlow's own rewriter
        leaves what needs more range in float32.
      xla: whether the graph is compiled.
    """

    precision: str
    xla: bool


WAYS = tuple(Way(precision, xla) for precision in ("float32", "tf32", "float16") for xla in (False, True))


class Measured(NamedTuple):
    """What a way reaches; rates are images per second.

    Attributes:
      card: name of the GPU.
      start: seconds until the first answer.
      difference: largest difference of a probability from the golden ones.
      alone: of the engine on decoded pixels, by batch size; None where not measured.
      in_flight: the same with several batches of `BATCH` in flight, by their number.
      beside: with all cores decoding for it, two batches in flight.
    """

    card: str
    start: float
    difference: float
    alone: list[float | None]
    in_flight: list[float]
    beside: float


def measure(bundle: Bundle, chips: Sequence[Path], way: Way, seconds: float) -> Measured:
    """Measure a way in this process; each rate takes so many seconds."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"auto_mixed_precision": way.precision == "float16"})
    tf.config.optimizer.set_jit("autoclustering" if way.xla else False)
    files, settings, golden = [chip.read_bytes() for chip in chips], settings_of(bundle), bundle.golden()
    pixels = [decode_resized(data, settings).pixels for data in files]
    pixels = (pixels * -(-max(BATCHES) // len(pixels)))[: max(BATCHES)]
    began = time.perf_counter()
    with temporary_folder() as folder:
        bundle.extract(SAVED_MODEL, folder)
        engine = TensorFlowEngine(os.path.join(folder, SAVED_MODEL))
    # After the engine, which turns it off.
    tf.config.experimental.enable_tensor_float_32_execution(way.precision != "float32")
    answers = engine.predict(np.resize(golden.pixels, (BATCH, *golden.pixels.shape[1:])))[: len(golden.pixels)]
    start = time.perf_counter() - began
    return Measured(
        card=card(),
        start=start,
        difference=float(np.abs(answers - golden.probabilities).max()),
        alone=[
            predicting(engine, pixels[:size], 1, seconds) if size == BATCH or not way.xla else None for size in BATCHES
        ],
        in_flight=[predicting(engine, pixels[:BATCH], calls, seconds) for calls in IN_FLIGHT],
        beside=decoding_and_predicting(engine, files, settings, 2 * seconds),
    )


def card() -> str:
    """Return the name of the GPU."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return str(tf.config.experimental.get_device_details(found[0]).get("device_name")) if found else "no GPU"


def settings_of(bundle: Bundle) -> DecodeSettings:
    """Return how a bundle's images are decoded."""
    return DecodeSettings(bundle.image_size, bundle.resize_filter)


def predicting(engine: Engine, batch: Sequence[NDArray[np.uint8]], calls: int, seconds: float) -> float:
    """Return the rate of an engine with so many calls at the same time."""
    for _ in range(2):  # compiles
        engine.predict(batch)
    return repeated(lambda: len(engine.predict(batch)), calls, seconds)


class Decoding(NamedTuple):
    """Rates of decoding and resizing on all cores, in images per second.

    Attributes:
      threads: in one process, as in the job.
      processes: in a process per core, which do not share Python's lock.
    """

    threads: float
    processes: float


def measure_decoding(settings: DecodeSettings, chips: Sequence[Path], seconds: float) -> Decoding:
    """Measure decoding in both ways, so many seconds each."""
    cores, spawn = available_cores(), multiprocessing.get_context("spawn")
    files = [chip.read_bytes() for chip in chips]
    together = (spawn.Barrier(cores),)
    with ProcessPoolExecutor(cores, spawn, initializer=threading.Barrier.wait, initargs=together) as executor:
        futures = [executor.submit(decoding, settings, files, 1, seconds) for _ in range(cores)]
    return Decoding(decoding(settings, files, cores, seconds), sum(future.result() for future in futures))


def decoding(settings: DecodeSettings, files: Sequence[bytes], threads: int, seconds: float) -> float:
    """Return the rate of decoding in so many threads."""
    source = cycle(files)
    return repeated(lambda: bool(decode_resized(next(source), settings)), threads, seconds)


def repeated(work: Callable[[], int], threads: int, seconds: float) -> float:
    """Return how much threads that repeat some work do per second; the work returns how much it did."""
    began = time.perf_counter()

    def repeat() -> int:
        # At least once, however late a thread starts.
        done = work()
        while time.perf_counter() < began + seconds:
            done += work()
        return done

    with ThreadPoolExecutor(threads) as executor:
        futures = [executor.submit(repeat) for _ in range(threads)]
    return sum(future.result() for future in futures) / (time.perf_counter() - began)


def decoding_and_predicting(engine: Engine, files: Sequence[bytes], settings: DecodeSettings, seconds: float) -> float:
    """Return the rate of a hand-written loop: a decoder per core, and two threads that run the model."""
    ready: queue.Queue[list[Any]] = queue.Queue(4)
    ended, source = threading.Event(), cycle(files)

    def decode_batches() -> None:
        while not ended.is_set():
            batch = [decode_resized(next(source), settings).pixels for _ in range(BATCH)]
            while not ended.is_set():
                try:
                    ready.put(batch, timeout=0.1)
                    break
                except queue.Full:
                    continue

    decoders = [threading.Thread(target=decode_batches) for _ in range(available_cores())]
    for decoder in decoders:
        decoder.start()
    # All decoders finish their first batch at about the same time.
    for _ in decoders:
        engine.predict(ready.get())
    try:
        return repeated(lambda: len(engine.predict(ready.get())), 2, seconds)
    finally:
        ended.set()
        for decoder in decoders:
            decoder.join()
