"""Round an exported network to 8-bit integers, and keep its earlier figures so that the cost can be reported.

On processors with instructions for it such a file takes half the time. The cost in quality depends on the network and
the images, so all figures of the bundle, including thresholds, are those of the rounded file, next to the earlier ones.
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
# As integers, the head would give probabilities in steps of 1/256, which rank rare labels coarsely: mean average
# precision was lower by 0.011 on 122 real chips, and no time was saved.
_KEPT_IN_FLOAT32 = ["FULLY_CONNECTED", "LOGISTIC"]
# If the probabilities of a label range this far over the images, the rounded network must tell images apart as well.
_DISTINCT = 0.1


def check_available() -> None:
    """Fail right away if TensorFlow lacks what quantization needs, instead of after hours.

    Raises:
      UsageError: this TensorFlow cannot leave single operations unquantized.
    """
    import tensorflow as tf

    if not hasattr(tf.lite.experimental, "QuantizationDebugger"):
        raise UsageError(
            f"--quantize: TensorFlow {tf.__version__} has no tf.lite.experimental.QuantizationDebugger",
            "install the version in requirements.lock, or train with --quantize none",
        )


def calibration_images(training: Examples) -> NDArray[np.uint8]:
    """Return evenly spaced images to find activation ranges, uint8 [at most `CALIBRATION_IMAGES`, S, S, 3]."""
    return training.pixels[training.rows[spread(len(training.rows), CALIBRATION_IMAGES)]]


def quantize(folder: Path, calibration: NDArray[np.uint8]) -> None:
    """Rewrite `model.tflite` in int8 from pixels to features, and remove `saved_model/`, now a different model.

    Args:
      folder: contains `saved_model/` with signature `serve`, in float32.
      calibration: see `calibration_images`.

    Raises:
      OSError: the file cannot be written.
    """
    import tensorflow as tf

    def represent() -> Iterator[list[NDArray[np.uint8]]]:
        for image in calibration:
            yield [image[np.newaxis]]

    with native_messages_muted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses TensorFlow's own interpreter, which is deprecated
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL), signature_keys=["serve"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = represent
        # The converter itself cannot exclude operations; the debugger is the documented way to do so.
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=represent,
            debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_KEPT_IN_FLOAT32),
        )
        model = debugger.get_nondebug_quantized_model()
    (folder / LITERT_MODEL).write_bytes(model)
    shutil.rmtree(folder / SAVED_MODEL)


def predict(file: Path, examples: Examples, bar_name: str = "measuring int8") -> NDArray[np.float32]:
    """Return the probabilities of examples, float32 [N, L], as the LiteRT engine does: image by image on all cores."""
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
        tqdm(total=len(examples.rows), unit="image", desc=bar_name, disable=None, leave=False) as bar,
    ):
        parts = list(pool.map(run, interpreters, np.array_split(examples.rows, len(interpreters))))
    return np.stack([answer for part in parts for answer in part])


def makes_sense(found: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
    """Return whether probabilities after quantization, float32 [N, L], still tell apart images that differed before."""
    if not np.isfinite(found).all():
        return False
    distinct = float(np.ptp(before, axis=0).max()) > _DISTINCT
    return not distinct or float(np.ptp(found, axis=0).max()) > 0


def of_quantized(before: Facts, probabilities: NDArray[np.float32], calibration_images: int) -> Facts:
    """Turn the facts about a float32 network into those about its int8 file.

    Args:
      before: the facts about the network.
      probabilities: the file's, of the held-out images, float32 [M, L].
      calibration_images: number of images used for calibration.
    """
    return dataclasses.replace(
        before,
        probabilities=probabilities,
        thresholds=thresholds.tune(
            before.data.validation_targets > 0.5, probabilities, before.training.beta, before.judged
        ),
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
