"""Round an exported network to integers of 8 bits, and keep what it was before, so that the cost can be told.

On processors with instructions for it such a file takes half the time. What it costs in quality depends on the network
and the images: so all figures of the bundle, thresholds too, are those of the rounded file, beside the ones before.
"""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Examples, spread
from model.quality import thresholds
from model.quality.facts import Facts, Quantization
from pipelines.commandline.parser import UsageError
from pipelines.inference.bundle import LITERT_MODEL, SAVED_MODEL
from pipelines.supervision.machine import available_cores, native_messages_muted

CALIBRATION_IMAGES = 200
# In integers too, the head would give probabilities in steps of 1/256, a coarse order for rare labels: mean average
# precision was lower by 0.011 on 122 real chips, and no time was won.
_KEPT_IN_FLOAT32 = ["FULLY_CONNECTED", "LOGISTIC"]
# A network that gives some images a probability so much higher than others is expected to tell them apart when rounded.
_TOLD_APART = 0.1


def check_available() -> None:
    """Refuse at once what would else be missing after hours.

    Raises:
      UsageError: this TensorFlow cannot quantize some operations and leave others.
    """
    import tensorflow as tf

    if not hasattr(tf.lite.experimental, "QuantizationDebugger"):
        raise UsageError(
            f"argument --quantize: TensorFlow {tf.__version__} has no tf.lite.experimental.QuantizationDebugger; "
            "install the version in requirements.lock, or train with --quantize none"
        )


def calibration_images(training: Examples) -> NDArray[np.uint8]:
    """Choose the images by which the range of each activation is found: uint8 [at most 200, S, S, 3], spread evenly."""
    return training.pixels[training.rows[spread(len(training.rows), CALIBRATION_IMAGES)]]


def quantize(folder: Path, calibration: NDArray[np.uint8]) -> None:
    """Write `model.tflite` anew, in int8 from pixels to features, and remove `saved_model/`: it is another model now.

    Args:
      folder: holds `saved_model/` with signature `serve`, in float32.
      calibration: see `calibration_images`.

    Raises:
      OSError: the file cannot be written.
    """
    import tensorflow as tf

    def represent() -> Iterator[list[NDArray[np.uint8]]]:
        for image in calibration:
            yield [image[np.newaxis]]

    with native_messages_muted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it builds an interpreter of TensorFlow's own, which is deprecated
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL), signature_keys=["serve"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = represent
        # The converter alone cannot leave out an operation; the debugger is also its documented way to do that.
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=represent,
            debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_KEPT_IN_FLOAT32),
        )
        model = debugger.get_nondebug_quantized_model()
    (folder / LITERT_MODEL).write_bytes(model)
    shutil.rmtree(folder / SAVED_MODEL)


def predict(file: Path, examples: Examples) -> NDArray[np.float32]:
    """Predict the probabilities of examples, float32 [N, L], as the LiteRT engine does: image by image on all cores."""
    from tqdm import tqdm

    with native_messages_muted():
        interpreters = [_open(file) for _ in range(available_cores())]

    def run(interpreter: Any, rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        source = interpreter.get_input_details()[0]["index"]
        result = interpreter.get_output_details()[0]["index"]
        answers = []
        for row in rows:
            interpreter.set_tensor(source, examples.pixels[row][np.newaxis])
            interpreter.invoke()
            answers.append(interpreter.get_tensor(result)[0])
            bar.update()
        return answers

    with (
        ThreadPoolExecutor(len(interpreters)) as pool,
        tqdm(total=len(examples.rows), unit="image", desc="measuring int8", disable=None, leave=False) as bar,
    ):
        parts = list(pool.map(run, interpreters, np.array_split(examples.rows, len(interpreters))))
    return np.stack([answer for part in parts for answer in part])


def makes_sense(found: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
    """Tell whether probabilities after quantization, float32 [N, L], say anything about images that differed before."""
    if not np.isfinite(found).all():
        return False
    told_apart = float(np.ptp(before, axis=0).max()) > _TOLD_APART
    return not told_apart or float(np.ptp(found, axis=0).max()) > 0


def of_quantized(before: Facts, probabilities: NDArray[np.float32], calibration_images: int) -> Facts:
    """Turn the facts of a float32 network into those of its int8 file.

    Args:
      before: of the network.
      probabilities: the file's, of the held-out images, float32 [M, L].
      calibration_images: how many the file was calibrated on.
    """
    return dataclasses.replace(
        before,
        probabilities=probabilities,
        thresholds=thresholds.tune(before.data.validation_targets > 0.5, probabilities),
        quantization=Quantization(
            calibration_images=calibration_images,
            float32_probabilities=before.probabilities,
            float32_thresholds=before.thresholds,
        ),
    )


def _open(file: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter
