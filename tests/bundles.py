"""A small bundle that recognizes bright, green and blue images by their colour."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.images.appearance import measure
from pipelines.inference.bundle import (
    GOLDEN,
    LITERT_MODEL,
    MANIFEST,
    MODEL_CARD,
    SAVED_MODEL,
    Description,
    load_bundle,
    seal_bundle,
)
from pipelines.inference.reference import gather_reference
from tests import image_files

LABELS = ("bright", "green", "blue")
IMAGE_SIZE = 32

POISON = (255, 0, 255)


def write_bundle(folder: Path, poisoned: bool = False) -> None:
    """Write a bundle, with one of whose kernels a `POISON` coloured image fails if it is to be poisoned."""
    folder.mkdir()
    golden = np.stack([image_files.picture(IMAGE_SIZE, IMAGE_SIZE, seed=seed) for seed in range(4)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf

        probabilities = _write_models(tf, folder, golden, poisoned)
    np.savez_compressed(folder / GOLDEN, pixels=golden, probabilities=probabilities)
    (folder / MODEL_CARD).write_text("A model for tests.\n")
    seal_bundle(
        folder,
        Description(
            name=folder.name,
            labels=LABELS,
            thresholds=[0.5, 0.5, 0.5],
            image_size=IMAGE_SIZE,
            resize_filter="bilinear",
            training={"images": 0},
            metrics={},
            versions={"tensorflow": tf.__version__},
        ),
    )


def copy_with_reference(bundle_path: str, folder: Path) -> Path:
    """Copy a bundle of `write_bundle` as one that says what its training images look like: those of `picture`."""
    pictures = [image_files.picture(IMAGE_SIZE, IMAGE_SIZE, seed=1000 + seed) for seed in range(200)]
    return copy_as(bundle_path, folder, reference=gather_reference(measure(pictures)))


def copy_as(bundle_path: str, folder: Path, **changes: Any) -> Path:
    """Copy a bundle of `write_bundle` with another description."""
    shutil.copytree(bundle_path, folder)
    bundle = load_bundle(bundle_path)
    (folder / MANIFEST).unlink()
    fields = ("name", "labels", "thresholds", "image_size", "resize_filter", "training", "metrics", "versions")
    seal_bundle(folder, Description(**{**{name: getattr(bundle, name) for name in fields}, **changes}))
    return folder


def _write_models(tf: Any, folder: Path, pixels: NDArray[np.uint8], poisoned: bool) -> NDArray[np.float32]:
    """Write the SavedModel and the LiteRT file of a small network, and return its probabilities of these pixels."""
    rng = np.random.default_rng(0)
    # Three channels carry the colours through the network; the others are noise of little weight.
    first, second = (rng.normal(0, 0.2, (3, 3, inputs, 8)).astype(np.float32) for inputs in (3, 8))
    for colour in range(3):
        for kernel in (first, second):
            kernel[..., colour] = 0
            kernel[:, :, colour, colour] = 1 / 9
    last = rng.normal(0, 0.3, (8, len(LABELS))).astype(np.float32)
    last[:3] += np.array([[4, -6, -6], [4, 12, -6], [4, -6, 12]], np.float32)
    bias = np.array([-6, 0, 0], np.float32)

    class Network(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tf.Variable(weights) for weights in (first, second, last, bias)]

        @tf.function(input_signature=[tf.TensorSpec((None, IMAGE_SIZE, IMAGE_SIZE, 3), tf.uint8, name="pixels")])  # type: ignore[untyped-decorator]
        def serve(self, pixels: Any) -> Any:
            first, second, last, bias = self.weights
            values = tf.cast(pixels, tf.float32) / 255
            values = tf.nn.relu(tf.nn.conv2d(values, first, strides=2, padding="SAME"))
            values = tf.nn.relu(tf.nn.conv2d(values, second, strides=2, padding="SAME"))
            logits = tf.reduce_mean(values, axis=(1, 2)) @ last + bias
            if poisoned:
                difference = tf.abs(tf.cast(pixels[:, 0, 0], tf.float32) - tf.constant(POISON, tf.float32))
                poison = tf.reduce_sum(difference, axis=-1) < 1
                # There is one number to gather from, and the poison points far past it.
                logits += tf.gather(tf.zeros(1), tf.cast(poison, tf.int32) * 1000)[:, tf.newaxis]
            return tf.sigmoid(logits)

    network = Network()
    tf.saved_model.save(network, str(folder / SAVED_MODEL), signatures={"serve": network.serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL), signature_keys=["serve"])
    (folder / LITERT_MODEL).write_bytes(converter.convert())
    probabilities: NDArray[np.float32] = network.serve(pixels).numpy()
    return probabilities
