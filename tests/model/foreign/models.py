"""Models as others make them: a network on a base of its own, in the formats that can be imported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIZE = 64
LABELS = ("clear", "cloudy", "haze", "primary", "water")


def skip_without_openvino() -> None:
    """Skip where OpenVINO, which reads ONNX, is not installed, without importing what of it reports to others."""
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed: pip install 'scenetags[onnx]'", allow_module_level=True)


def write_all(folder: Path, chips: NDArray[np.uint8]) -> None:
    """Write the network of the tutorial in every format of Keras and TensorFlow; it expects pixels / 255."""
    import tensorflow as tf

    model = tutorial(chips)
    model.save(folder / "tutorial.keras")
    model.save(folder / "keras_2.h5")
    _spell_as_keras_2(folder / "keras_2.h5")
    model.export(folder / "keras_3", verbose=False)
    tf.saved_model.save(model, str(folder / "tensorflow"))
    (folder / "float.tflite").write_bytes(_converter(tf, model).convert())
    converter = _converter(tf, model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # With black and white among them, a step of the input is 1 / 255.
    shown = np.concatenate([chips, np.zeros_like(chips[:1]), np.full_like(chips[:1], 255)])
    converter.representative_dataset = lambda: ([chip[np.newaxis] / np.float32(255)] for chip in shown)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(converter.convert())
    np.save(folder / "expected.npy", np.asarray(model(chips / np.float32(255), training=False)))
    (folder / "labels.txt").write_text("\n".join(LABELS))


def tutorial(chips: NDArray[np.uint8]) -> Any:
    """Build a Sequential of a frozen base, pooling and a sigmoid head, whose answers differ from chip to chip."""
    import keras

    keras.utils.set_random_seed(0)
    base = _base(keras)
    scaled = chips / np.float32(255)
    base(scaled, training=True)
    base.trainable = False
    head = keras.layers.Dense(len(LABELS), activation="sigmoid")
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), base, keras.layers.GlobalAveragePooling2D(), head])
    features = np.asarray(base(scaled, training=False)).mean(axis=(1, 2))
    kernel = np.random.default_rng(0).normal(0, 3, (features.shape[1], len(LABELS))) / features.std(axis=0)[:, None]
    head.set_weights([kernel, -features.mean(axis=0) @ kernel])
    return model


def _base(keras: Any) -> Any:
    """Build the layers of which MobileNetV2 is made, few of them."""
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3))
    value = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    value = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.0)(value))
    deep = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(value)
    deep = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.0)(deep))
    deep = layers.BatchNormalization(momentum=0.0)(layers.Conv2D(8, 1, use_bias=False)(deep))
    return keras.Model(image, layers.Add()([value, deep]), name="base")


def _converter(tf: Any, model: Any) -> Any:
    return tf.lite.TFLiteConverter.from_keras_model(model)


def _spell_as_keras_2(path: Path) -> None:
    """Change the configuration in a file to what Keras 2 wrote, which Keras 3 does not read."""
    import h5py

    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for part in _objects(config):
            arguments = part.get("config", {})
            if part.get("class_name") == "DepthwiseConv2D":
                arguments["groups"] = 1
            if part.get("class_name") == "BatchNormalization":
                arguments["axis"] = [3]
            if part.get("class_name") == "Functional":
                arguments |= {ends: [arguments[ends]] for ends in ("input_layers", "output_layers")}
        file.attrs["model_config"] = json.dumps(config)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def write_onnx(path: Path, *, channels_first: bool, divides: bool = False) -> None:
    """Write a network as PyTorch exports it, of the layers of which MobileNetV2 is made; it returns logits.

    Args:
      path: of the file.
      channels_first: whether it takes them first.
      divides: whether it divides pixels by 255 itself; with channels last alone.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    weights = {
        "first": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "bias": rng.normal(0, 0.1, 8),
        "deep": rng.normal(0, 0.3, (8, 1, 3, 3)),
        "wide": rng.normal(0, 0.3, (8, 8, 1, 1)),
        "head": rng.normal(0, 1, (len(LABELS), 8)),
        "zero": np.array(0.0),
        "six": np.array(6.0),
        "white": np.array(255.0),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "first", "bias"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Clip", ["a", "zero", "six"], ["b"]),
        node("Conv", ["b", "deep"], ["c"], group=8, pads=[1, 1, 1, 1]),
        node("Clip", ["c", "zero", "six"], ["d"]),
        node("Conv", ["d", "wide"], ["e"]),
        node("Add", ["b", "e"], ["f"]),
        node("GlobalAveragePool", ["f"], ["g"]),
        node("Flatten", ["g"], ["h"]),
        node("Gemm", ["h", "head"], ["logits"], transB=1),
    ]
    shape: list[str | int | None]
    shape = ["batch", 3, SIZE, SIZE] if channels_first else ["batch", SIZE, SIZE, 3]
    if not channels_first:
        nodes.insert(0, node("Transpose", ["scaled" if divides else "pixels"], ["image"], perm=[0, 3, 1, 2]))
    if divides:
        nodes.insert(0, node("Div", ["pixels", "white"], ["scaled"]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image" if channels_first else "pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
