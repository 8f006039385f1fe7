"""Turn labelled images into training batches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import images


class Examples(NamedTuple):
    """Images of one size with their labels: pixels uint8 [N, S, S, 3] and targets float32 [N, L]."""

    pixels: NDArray[np.uint8]
    targets: NDArray[np.float32]

    def take(self, indices: NDArray[np.int64]) -> Examples:
        """Copy the examples at these indices."""
        return Examples(self.pixels[indices], self.targets[indices])


class Unreadable(NamedTuple):
    """An image that could not be decoded, and why."""

    path: Path
    reason: str


class PixelsRead(NamedTuple):
    """What reading a list of images gave.

    `pixels` is uint8 [N, S, S, 3] of the readable images and `indices` int64 [N] their places in the list;
    `repairs` counts the images each repair of `images.decode` was applied to.
    """

    pixels: NDArray[np.uint8]
    indices: NDArray[np.int64]
    repairs: dict[str, int]
    unreadable: tuple[Unreadable, ...]


class Split(NamedTuple):
    """Indices of the examples to train on and of those held out to validate, int64 each, sorted."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def read_pixels(paths: Sequence[Path], image_size: int, resize_filter: str = "bilinear") -> PixelsRead:
    """Decode, repair and resize images with the very code that predicts."""
    pixels = np.empty((len(paths), image_size, image_size, 3), np.uint8)

    def read(index: int) -> tuple[str, ...] | Unreadable:
        try:
            decoded = images.decode(paths[index].read_bytes())
        except (images.ImageError, OSError) as error:
            return Unreadable(paths[index], str(error))
        pixels[index] = images.resize(decoded.pixels, image_size, resize_filter)
        return decoded.repairs

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(read, range(len(paths))))
    unreadable = tuple(outcome for outcome in outcomes if isinstance(outcome, Unreadable))
    repairs: dict[str, int] = {}
    for outcome in outcomes:
        if not isinstance(outcome, Unreadable):
            for repair in outcome:
                repairs[repair] = repairs.get(repair, 0) + 1
    readable = np.array([i for i, o in enumerate(outcomes) if not isinstance(o, Unreadable)], np.int64)
    return PixelsRead(pixels if not unreadable else pixels[readable], readable, repairs, unreadable)


def split(count: int, validation_fraction: float, seed: int) -> Split:
    """Draw the validation images at random, at least one on each side; the same seed draws the same.

    Raises:
      ValueError: fewer than two images.
    """
    if count < 2:
        raise ValueError(f"{count} image cannot be split into training and validation")
    held_out = min(max(round(count * validation_fraction), 1), count - 1)
    order = np.random.default_rng(seed).permutation(count)
    return Split(np.sort(order[held_out:]), np.sort(order[:held_out]))


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Show a square image uint8 [S, S, 3] in one of its 8 orientations (0 to 7: 4 rotations, then mirrored)."""
    rotated = np.rot90(pixels, orientation % 4)
    return rotated[:, ::-1] if orientation >= 4 else rotated


def batches(examples: Examples, batch_size: int, *, augment_seed: int | None = None) -> Any:
    """Make a `tf.data.Dataset` of (pixels uint8 [B, S, S, 3], targets float32 [B, L]) over the examples.

    With `augment_seed`, each epoch comes in another order and each image in a random orientation (seen from
    above, none is more right than another); without, in order and as it is.
    """
    import tensorflow as tf

    count = len(examples.pixels)
    rng = np.random.default_rng(augment_seed)

    def gather(chosen: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        pixels = examples.pixels[chosen]
        if augment_seed is not None:
            for i, orientation in enumerate(rng.integers(8, size=len(chosen))):
                pixels[i] = turn(pixels[i].copy(), int(orientation))
        return pixels, examples.targets[chosen]

    def batch(chosen: Any) -> tuple[Any, Any]:
        pixels, targets = tf.numpy_function(gather, [chosen], (tf.uint8, tf.float32))
        pixels.set_shape((None, *examples.pixels.shape[1:]))
        targets.set_shape((None, examples.targets.shape[1]))
        return pixels, targets

    # Indices through a map: under `from_generator` (and Keras' PyDataset, which is one) TensorFlow gives its memory
    # back after every step, and the page faults made an epoch two to four times slower.
    indices = tf.data.Dataset.range(count)
    if augment_seed is not None:
        indices = indices.shuffle(count, seed=augment_seed)
    return indices.batch(batch_size).map(batch).prefetch(2)
