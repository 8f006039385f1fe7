"""Export a trained network as a bundle: model files, golden pairs, model card, digests."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Examples, spread
from model.data.learnt import IS_COMPLETE, NOTHING, Learnt
from model.export import card, descriptions, quantization
from model.export.lock import lock
from model.quality import curves
from model.quality.facts import Facts
from model.quality.measuring import measure
from model.quality.summaries import metrics_summary, training_summary
from pipelines import storage
from pipelines.commandline.printing import show
from pipelines.errors import ExitCode, ScenetagsError, quantity
from pipelines.inference.bundle import GOLDEN, LITERT_MODEL, SAVED_MODEL, Bundle, Description, load_bundle
from pipelines.supervision.machine import native_messages_muted

GOLDEN_IMAGES = 8
CHECKED_IMAGES = 64
TOLERANCE = 1e-4
# Smaller differences may come from the precision of the machine; larger ones mean a different network or images.
MIX_UP = 0.05
_BATCH = 32
_IN_FLOAT32 = "run the same command with --quantize none to resume and export in float32"
_PACKAGES = ("scenetags", "tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")


class ExportError(ScenetagsError):
    """An export that failed its checks, or cannot be written; the message is one line for the user."""

    exit_code = ExitCode.STOPPED


def export(
    model: Any,
    output: Path,
    facts: Facts,
    validation: Examples,
    calibration: Examples | None = None,
    learnt: Learnt = NOTHING,
) -> Bundle:
    """Write a trained network as a bundle, completely or not at all.

    Args:
      model: `keras.Model`, pixels uint8 [N, S, S, 3] to probabilities float32 [N, L], entirely in float32.
      output: the bundle's folder; must be empty or not exist.
      facts: what the bundle and its model card say about the training.
      validation: the held-out images, in the order of `facts.probabilities`. An evenly spaced selection serves to check
          the files against the network, and a few of these become the golden pairs. The others are read only to measure
          an int8 file.
      calibration: the training images, for an int8 bundle: its thresholds and figures are those of the int8 file, and
          `facts`, which describe the network, are what they were before. None for a float32 bundle.
      learnt: the images that the network has learnt from.

    Raises:
      ExportError: a layer does not compute in float32; an exported file and the Keras model differ by more than
          `TOLERANCE` on these images; the facts describe a different model; the int8 file's answers are nonsense; or
          the bundle cannot be written.
    """
    check_precision(model)
    checked = spread(len(validation.rows), CHECKED_IMAGES)
    images = validation.pixels[validation.rows[checked]]
    if not facts.training.final_epochs:  # otherwise they are what the model was before
        _check_facts(model, images, facts.probabilities[checked])
    with written_whole(output, "fix this, then run the same command again to resume with the export") as folder:
        write_models(model, folder)
        answers = check_agreement(model, folder, images)
        if calibration is not None:
            facts = _quantize(folder, facts, validation, calibration)
            answers = facts.probabilities[checked]
        golden = spread(len(images), GOLDEN_IMAGES)
        np.savez_compressed(folder / GOLDEN, pixels=images[golden], probabilities=answers[golden])
        learnt.write(folder)
        _describe(folder, facts, learnt)
    return load_bundle(str(output))


@contextmanager
def written_whole(output: Path, remedy: str = "") -> Iterator[Path]:
    """Have a bundle written to a folder next to its place, and move it there if nothing fails.

    Args:
      output: the bundle's folder.
      remedy: what to do if it cannot be written.

    Raises:
      ExportError: it cannot be written.
      ScenetagsError: another process is writing it.
    """
    partial = output.with_name(f".{output.name}.partial")
    try:
        with lock(output.with_name(f".{output.name}.lock")):
            shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
            try:
                partial.mkdir(parents=True)
                yield partial
                partial.rename(output)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except storage.LockedError:
        raise ScenetagsError(
            f"{output}: another process is writing a bundle there", "wait for it to finish, or choose another --output"
        ) from None
    except OSError as error:
        message = f"{output}: cannot be written: {error.strerror or error}; no bundle written"
        raise ExportError(message, remedy) from error


def check_precision(model: Any) -> None:
    """Make sure that a network computes in float32, as the engines that will run it do.

    Raises:
      ExportError: a layer computes in another precision.
    """
    for layer in _layers(model):
        if layer.compute_dtype != "float32":
            raise ExportError(
                f"layer {layer.name} computes in {layer.compute_dtype}, not in float32; no bundle written",
                "rebuild the network without mixed precision and load the weights into it",
            )


def write_models(model: Any, folder: Path) -> None:
    """Write `saved_model/` (signature `serve`) and `model.tflite`, both float32 with a free batch size.

    Raises:
      OSError: they cannot be written.
    """
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="pixels")
    archive.add_endpoint("serve", lambda batch: model(batch, training=False), input_signature=[pixels])
    try:
        archive.write_out(str(folder / SAVED_MODEL), verbose=False)
    except tf.errors.OpError as error:  # e.g. because the disk is full
        # "{{node ...}} FILE; REASON [Op:...]", where the file is already gone.
        raise OSError(" ".join(error.message.rpartition("; ")[2].partition(" [Op:")[0].split())) from error
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL), signature_keys=["serve"])
    (folder / LITERT_MODEL).write_bytes(converter.convert())


def check_agreement(model: Any, folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the SavedModel's answers, float32 [N, L], if it, the LiteRT file and the Keras model agree.

    Raises:
      ExportError: a probability differs by more than `TOLERANCE` on these images (uint8 [N, S, S, 3]).
    """
    with full_float32():
        expected = _keras(model, images)
        answers = {SAVED_MODEL: saved_model(folder, images), LITERT_MODEL: litert(folder, images)}
    for name, found in answers.items():
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:  # NaN is refused too
            raise ExportError(
                f"{name} differs from the Keras model by {difference:.2g} on "
                f"{quantity(len(images), 'validation image')} "
                f"(at most {TOLERANCE:.0e} is allowed); no bundle written",
                "install the package versions in requirements.lock, then run the same command again",
            )
    return answers[SAVED_MODEL]


def saved_model(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run the bundle's SavedModel on images uint8 [N, S, S, 3] and return probabilities float32 [N, L]."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / SAVED_MODEL))  # its functions do not keep its variables alive
    return np.concatenate([loaded.serve(tf.constant(batch)).numpy() for batch in _batches(images)])


def litert(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run the bundle's LiteRT file on images uint8 [N, S, S, 3] and return probabilities float32 [N, L]."""
    from ai_edge_litert.interpreter import Interpreter

    with native_messages_muted():
        interpreter = Interpreter(str(folder / LITERT_MODEL))
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    answers = []
    for batch in _batches(images):
        interpreter.resize_tensor_input(source, batch.shape, strict=True)
        with native_messages_muted():
            interpreter.allocate_tensors()
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(result))
    return np.concatenate(answers)


def versions() -> dict[str, str]:
    """Return the versions of the packages that made a bundle."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _keras(model: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    # Not with `predict`, which may have been compiled for a GPU's shorter floats.
    return np.concatenate([np.asarray(model(batch, training=False)) for batch in _batches(images)])


def _check_facts(model: Any, images: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
    """Make sure that the card's figures describe the exported model, by its probabilities of some images."""
    difference = float(np.abs(_keras(model, images) - probabilities).max())
    if not difference <= MIX_UP:
        raise ExportError(
            f"the measured probabilities are not those of the exported model: they differ by {difference:.2g} on "
            f"{quantity(len(images), 'validation image')}; no bundle written"
        )


def _quantize(folder: Path, facts: Facts, validation: Examples, calibration: Examples) -> Facts:
    """Replace a bundle's float32 models by an int8 file, and measure it."""
    images = quantization.calibration_images(calibration)
    show(f"quantizing to int8, calibrated on {quantity(len(images), 'training image')}")
    try:
        quantization.quantize(folder, images)
        probabilities = quantization.predict(folder / LITERT_MODEL, validation)
    except OSError:
        raise
    except Exception as error:
        # The converter can raise anything, after hours of training that must not look lost.
        raise ExportError(
            f"cannot be quantized ({str(error).strip().partition(chr(10))[0]}); no bundle written", _IN_FLOAT32
        ) from error
    if not quantization.makes_sense(probabilities, facts.probabilities):
        raise ExportError("in int8 this network no longer distinguishes images; no bundle written", _IN_FLOAT32)
    return quantization.of_quantized(facts, probabilities, len(images))


def _describe(folder: Path, facts: Facts, learnt: Learnt) -> None:
    """Add curves and descriptions to a bundle."""
    quality, made_with = measure(facts), versions()
    judged, truth = facts.judged, facts.data.validation_targets > 0.5
    precision_recall = curves.draw_precision_recall(
        quality.scores.of(judged), truth[:, judged], facts.probabilities[:, judged]
    )
    (folder / card.PRECISION_RECALL).write_bytes(precision_recall)
    (folder / card.RELIABILITY).write_bytes(curves.draw_reliability(quality.calibrated, quality.uncalibrated))
    training_curves = curves.draw_training(facts.training.history, facts.training.kept_epoch, facts.training.beta)
    (folder / card.TRAINING_CURVES).write_bytes(training_curves)
    description = Description(
        name=facts.name,
        labels=facts.labels,
        thresholds=facts.thresholds.each.tolist(),
        image_size=facts.network.image_size,
        resize_filter=facts.network.resize_filter,
        training=training_summary(facts) | {IS_COMPLETE: learnt.is_complete},
        metrics=metrics_summary(facts, quality),
        versions=made_with,
        rendering=facts.network.rendering,
        reference=facts.data.reference,
    )
    descriptions.write(folder, card.write(facts, quality, made_with), description)


@contextmanager
def full_float32() -> Iterator[None]:
    """Make TensorFlow multiply with all 24 bits of a float32; by default a GPU keeps 11 (TF32), and differs by 1e-3."""
    import tensorflow as tf

    switch = tf.config.experimental
    before = switch.tensor_float_32_execution_enabled()
    switch.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        switch.enable_tensor_float_32_execution(before)


def _layers(model: Any) -> Iterator[Any]:
    """Yield every layer of a model, including those of nested models."""
    for layer in model.layers:
        yield layer
        yield from _layers(layer) if hasattr(layer, "layers") else ()


def _batches(images: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
