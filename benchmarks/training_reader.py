"""Measure whether reading keeps up with training: `python -m benchmarks.training_reader`.

Every round measures each rate once, in turn, so that drift in the machine's speed affects all alike. What counts are
the ratios within a round; absolute rates mean little on a shared machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.material import synthetic_chips
from model.data import dataset
from model.data.listing import versions
from model.training import network, phases

BATCH = 32
LABELS = 17


class Round(NamedTuple):
    """Rates of one round, in images per second.

    Attributes:
      decoding: from image files into the cache, as before the first epoch.
      reading: from the cache into augmented, shuffled training batches, as in every epoch.
      step: the training step alone, on a prepared batch.
    """

    decoding: float
    reading: float
    step: float


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_reader", description=__doc__)
    parser.add_argument("--image_size", type=int, default=96, help="input size of the network, in pixels (default 96)")
    parser.add_argument("--alpha", type=float, default=0.35, help="width multiplier of the network (default 0.35)")
    parser.add_argument("--count", type=int, default=1000, help="number of synthetic chips (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to measure (default 5)")
    options = parser.parse_args()

    paths = sorted(map(str, synthetic_chips(options.count).iterdir()))
    model = trainable_network(options.image_size, options.alpha)
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append(measure(paths, model, options.image_size))
        print(f"round {number}: " + ", ".join(f"{k} {v:.0f}" for k, v in rounds[-1]._asdict().items()), flush=True)
    print(f"\nalpha {options.alpha:g}, {options.image_size} px, batches of {BATCH}, medians of {len(rounds)} rounds\n")
    for name in Round._fields:
        rates = [getattr(measured, name) for measured in rounds]
        ratios = [getattr(measured, name) / measured.step for measured in rounds]
        print(
            f"{name:9} {statistics.median(rates):8.0f} images/s   {statistics.median(ratios):5.2f} times the step "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def trainable_network(image_size: int, alpha: float) -> Any:
    """Build a network to train from scratch with every layer unfrozen, the most expensive step."""
    import keras

    model = network.build(np.full(LABELS, 0.2, np.float32), image_size=image_size, alpha=alpha, weights=None)
    network.free(model, "everything")
    model.compile(keras.optimizers.Adam(phases.SCRATCH_LEARNING_RATE), "binary_crossentropy", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def measure(paths: list[str], model: Any, image_size: int) -> Round:
    """Measure each rate once."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        decoded = dataset.decode(versions(paths), image_size, Path(folder))
        decoding = len(paths) / (time.perf_counter() - began)
        examples = dataset.Examples(decoded.pixels, decoded.readable, np.zeros((len(paths), LABELS), np.float32))
        return Round(decoding, rate_of_reading(examples), rate_of_step(model, examples))


def rate_of_reading(examples: dataset.Examples) -> float:
    """Return the rate at which batches arrive if they are discarded."""
    batches = iter(dataset.training_batches(examples, BATCH, seed=0, epochs=range(3)))
    next(batches)
    began = time.perf_counter()
    images = sum(len(pixels) for pixels, _ in batches)
    return images / (time.perf_counter() - began)


def rate_of_step(model: Any, examples: dataset.Examples) -> float:
    """Return the rate of the training step as `fit` runs it, repeatedly on the same batch."""
    batches = dataset.batches(examples.take(np.arange(BATCH)), BATCH).cache().repeat()
    model.fit(batches, steps_per_epoch=2, verbose=0)
    steps = 40
    began = time.perf_counter()
    model.fit(batches, steps_per_epoch=steps, verbose=0)
    return steps * BATCH / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
