"""Import real MobileNetV2s and compare bundle and original: `python -m tools.import_models --images DIR --labels CSV`.

The network is that of most tutorials: a frozen MobileNetV2, average pooling, and a sigmoid per label, whose head is
trained here on pixels / 255 of the labelled images. It is saved in each format, imported, and answers images; so does
the original, by its own framework and without any code of `model.foreign`. Where torchvision is installed, its
MobileNetV2 is exported to ONNX and compared with PyTorch, with weights drawn at random. Then each wrong scaling is
tried. A few minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import importing
from model.export.bundle import litert
from pipelines import images, labels, storage
from pipelines.inference.bundle import Bundle, load_bundle

_SIZE = 224
_COMPARED = 64
_MEANS, _DEVIATIONS = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Made(NamedTuple):
    """A model in one format, with its answers to the compared images and the flags of its import."""

    path: Path
    expected: Probabilities
    flags: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns 1 if an import differs from its original, or a wrong scaling was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--labels", type=Path, required=True, help="their label file")
    parser.add_argument("--weights", type=Path, help="of MobileNetV2 without top, alpha 1.0 (default: Keras' own)")
    flags = parser.parse_args(argv)
    matched = labels.match(
        labels.read_labels(flags.labels).rows, list(map(str, labels.find_images(flags.images))), str(flags.images)
    )
    names = labels.vocabulary(matched.tags)
    settings = images.DecodeSettings(_SIZE, "bilinear16")
    pixels = np.stack([images.decode_resized(storage.read(path), settings).pixels for path in matched.paths])
    failed = False
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "labels.txt").write_text("\n".join(names))
        tutorial = _tutorial(pixels, labels.multi_hot(matched.tags, names), flags.weights)
        for model in (*_keras_and_tensorflow(folder, tutorial, pixels), *_litert(folder, tutorial, pixels)):
            failed |= not _agrees(folder, model, pixels)
        if importlib.util.find_spec("torchvision"):
            # PyTorch and LiteRT cannot be in one process: both bring LLVM.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
                exported = other.submit(_pytorch, folder, pixels[:_COMPARED], len(names)).result()
            failed |= not _agrees(folder, exported, pixels)
        for scaling in ("symmetric", "imagenet", "none"):
            given = ("--scaling", scaling, "--images", str(flags.images))
            for more in ((), ("--labels_csv", str(flags.labels))):
                bundle = _import(folder, folder / "tutorial.keras", (*given, *more))
                doubts = " ".join(bundle.training["imported"]["doubts"])
                print(f"--scaling {scaling:9} {'with labels' if more else 'without':12} {doubts or 'not noticed'}")
                failed |= "--scaling is probably unit" not in doubts
    return int(failed)


def _tutorial(pixels: Pixels, targets: NDArray[np.float32], weights: Path | None) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2(
        input_shape=(_SIZE, _SIZE, 3), include_top=False, weights=str(weights) if weights else "imagenet"
    )
    base.trainable = False
    pooling, head = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(targets.shape[1], activation="sigmoid")
    model = keras.Sequential([keras.Input((_SIZE, _SIZE, 3)), base, pooling, head])
    batches = [pixels[at : at + 32] / np.float32(255) for at in range(0, len(pixels), 32)]
    features = np.concatenate([np.asarray(pooling(base(batch, training=False))) for batch in batches])
    alone = keras.Sequential([keras.Input(features.shape[1:]), head])
    alone.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    alone.fit(features, targets, epochs=40, verbose=0)
    return model


def _keras_and_tensorflow(folder: Path, model: Any, pixels: Pixels) -> Iterator[Made]:
    import tensorflow as tf

    expected = np.asarray(model(pixels[:_COMPARED] / np.float32(255), training=False))
    unit, known = ("--scaling", "unit"), ("--output_kind", "probabilities")
    model.save(folder / "tutorial.keras")
    yield Made(folder / "tutorial.keras", expected, unit)
    model.save(folder / "tutorial.h5")
    yield Made(folder / "tutorial.h5", expected, unit)
    model.export(folder / "keras_3", verbose=False)
    yield Made(folder / "keras_3", expected, (*unit, *known))
    tf.saved_model.save(model, str(folder / "tensorflow"))
    yield Made(folder / "tensorflow", expected, (*unit, *known))


def _litert(folder: Path, model: Any, pixels: Pixels) -> Iterator[Made]:
    import tensorflow as tf

    # With black and white among the images, a step of the input is 1 / 255, and nothing lies between two steps.
    shown = np.concatenate([pixels[:100], np.zeros_like(pixels[:1]), np.full_like(pixels[:1], 255)])
    for name in ("float32", "int8", "uint8"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if name != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[np.newaxis] / np.float32(255)] for image in shown)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = getattr(tf, name)
        path = folder / f"{name}.tflite"
        path.write_bytes(converter.convert())
        yield Made(path, _interpreted(path, pixels[:_COMPARED]), ("--scaling", "unit"))


def _interpreted(path: Path, pixels: Pixels) -> Probabilities:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    [source], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    (step, zero), (result_step, result_zero) = source["quantization"], result["quantization"]
    answers = []
    for image in pixels / np.float32(255):
        values = np.round(image / step + zero).astype(source["dtype"]) if step else image
        interpreter.set_tensor(source["index"], values[np.newaxis])
        interpreter.invoke()
        found = interpreter.get_tensor(result["index"]).astype(np.float32)
        answers.append((found - result_zero) * np.float32(result_step) if result_step else found)
    return np.concatenate(answers)


def _pytorch(folder: Path, pixels: Pixels, labels: int) -> Made:
    import torch
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2(num_classes=labels)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    scaled = (pixels / np.float32(255) - _MEANS) / _DEVIATIONS
    ordered = torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        model.train()(ordered)  # for the statistics of its normalization
        logits = model.eval()(ordered).numpy()
    torch.onnx.export(model, (ordered[:1],), str(folder / "pytorch.onnx"))
    flags = ("--scaling", "imagenet", "--output_kind", "logits")
    return Made(folder / "pytorch.onnx", 1 / (1 + np.exp(-logits)), flags)


def _agrees(folder: Path, made: Made, pixels: Pixels) -> bool:
    began = time.monotonic()
    bundle = _import(folder, made.path, made.flags)
    seconds = time.monotonic() - began
    found = np.concatenate([litert(Path(bundle.path), image[np.newaxis]) for image in pixels[:_COMPARED]])
    difference = float(np.abs(found - made.expected).max())
    spread = float(np.ptp(made.expected, axis=0).max())
    print(
        f"{made.path.name:16} differs by {difference:.1e} at most on {len(found)} images, whose answers differ by up "
        f"to {spread:.2f}; {seconds:.0f} s"
    )
    return difference <= 1e-4 < spread


def _import(folder: Path, model: Path, flags: tuple[str, ...]) -> Bundle:
    output = folder / f"bundle_{time.monotonic_ns()}"
    command = [str(model), "--labels", str(folder / "labels.txt"), "--output", str(output), *flags]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
        code = importing.main(command)
    if code:
        raise RuntimeError(told.getvalue())
    return load_bundle(str(output))


if __name__ == "__main__":
    sys.exit(main())
