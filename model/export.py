"""Export a trained network as a bundle: SavedModel, LiteRT file, golden pairs, model card, digests."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import card
from pipelines.bundle import GOLDEN, LITERT_MODEL, MODEL_CARD, SAVED_MODEL, Bundle, load_bundle, seal_bundle

GOLDEN_IMAGES = 8
CHECKED_IMAGES = 64
TOLERANCE = 1e-4
_BATCH = 32
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")


class ExportError(RuntimeError):
    """An export that must not be used; the message is one line for the user."""


def export(model: Any, output: Path, facts: card.Facts, images: NDArray[np.uint8]) -> Bundle:
    """Write a trained network as a bundle, whole or not at all.

    Args:
      model: `keras.Model`, pixels uint8 [N, S, S, 3] to probabilities float32 [N, L].
      output: the bundle's folder; must not exist, or be empty.
      facts: what the bundle and its model card tell of the training.
      images: validation images uint8 [N, S, S, 3], to check the files against each other; the first few
          become the golden pairs.

    Raises:
      ExportError: the LiteRT file and the Keras model differ by more than 1e-4 on these images.
    """
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed export has left
    partial.mkdir(parents=True)
    try:
        write_models(model, partial)
        checked = images[:CHECKED_IMAGES]
        answers = check_agreement(model, partial, checked)
        np.savez_compressed(partial / GOLDEN, pixels=checked[:GOLDEN_IMAGES], probabilities=answers[:GOLDEN_IMAGES])
        (partial / MODEL_CARD).write_text(card.write(facts), encoding="utf-8")
        seal_bundle(
            partial,
            name=facts.name,
            labels=facts.labels,
            thresholds=[facts.threshold] * len(facts.labels),
            image_size=facts.image_size,
            resize_filter=facts.resize_filter,
            training=card.training_summary(facts),
            metrics=card.metrics_summary(facts),
            versions=versions(),
        )
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return load_bundle(str(output))


def write_models(model: Any, folder: Path) -> None:
    """Write `saved_model/` (signature `serve`) and `model.tflite`, both float32 with a free batch size."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="pixels")
    archive.add_endpoint("serve", lambda batch: model(batch, training=False), input_signature=[pixels])
    archive.write_out(str(folder / SAVED_MODEL), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL), signature_keys=["serve"])
    (folder / LITERT_MODEL).write_bytes(converter.convert())


def check_agreement(model: Any, folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the SavedModel's answers, float32 [N, L], where the LiteRT file and the Keras model give the same.

    Raises:
      ExportError: a probability differs by more than 1e-4 on these images (uint8 [N, S, S, 3]).
    """
    expected = model.predict(images, batch_size=_BATCH, verbose=0)
    answers = {SAVED_MODEL: saved_model(folder, images), LITERT_MODEL: litert(folder, images)}
    for name, found in answers.items():
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:  # NaN is refused too
            raise ExportError(
                f"{name} differs from the Keras model by {difference:.2g} on {len(images)} validation images "
                f"(at most {TOLERANCE:.0e} is allowed); no bundle written"
            )
    return answers[SAVED_MODEL]


def saved_model(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run the bundle's SavedModel on images uint8 [N, S, S, 3]: probabilities float32 [N, L]."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / SAVED_MODEL))  # its functions do not keep its variables alive
    return np.concatenate([loaded.serve(tf.constant(batch)).numpy() for batch in _batches(images)])


def litert(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run the bundle's LiteRT file on images uint8 [N, S, S, 3]: probabilities float32 [N, L]."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / LITERT_MODEL))
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    answers = []
    for batch in _batches(images):
        interpreter.resize_tensor_input(source, batch.shape, strict=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(result))
    return np.concatenate(answers)


def versions() -> dict[str, str]:
    """Name the versions a bundle was made with."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _batches(images: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
