"""Weights in bfloat16 whose rounding is taken from the biases."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.inference.bfloat16 import EXACT_LAYERS, round_graph, to_bfloat16
from pipelines.inference.openvino_runtime import import_openvino, load_core
from pipelines.inference.processor import bfloat16_units

if find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra", allow_module_level=True)

SIZE = 6
SAMPLES = np.random.default_rng(0).integers(0, 90, (3, SIZE, SIZE, 3), np.uint8)
CHANNELS = 16


def layered(*kinds: str, stored: str = "f32") -> Any:
    """Build a graph of layers of one pixel each, so that no border is padded."""
    openvino = import_openvino()
    op, ops = openvino.op, openvino.opset13
    rng = np.random.default_rng(1)

    def constant(*shape: int) -> Any:
        values = rng.normal(0.1, 1, shape).astype(np.float16)
        return op.Constant(values.astype(np.float32)) if stored == "f32" else ops.convert(op.Constant(values), "f32")

    at_once: Any = ([1, 1], [0, 0], [0, 0], [1, 1])
    pixels = ops.parameter([1, SIZE, SIZE, 3], np.uint8)
    node = ops.transpose(ops.convert(pixels, "f32"), op.Constant(np.array([0, 3, 1, 2])))
    for kind in kinds:
        channels = node.output(0).get_shape()[1]
        if kind == "depthwise":
            node = ops.group_convolution(node, constant(channels, 1, 1, 1, 1), *at_once)
        else:
            node = ops.convolution(node, constant(CHANNELS, channels, 1, 1), *at_once)
        if kind != "no bias":
            node = ops.add(node, constant(1, node.output(0).get_shape()[1], 1, 1))
        node = ops.relu(node)
    return openvino.Model([ops.reduce_mean(node, op.Constant(np.array([2, 3])))], [pixels])


def with_head(graph: Any, embeds: bool) -> Any:
    """Add a head to a graph, whose input is then a second output or none."""
    openvino = import_openvino()
    features = graph.output(0).get_node().input_value(0)
    # So small that the probabilities are not 0 and 1.
    weights = np.random.default_rng(2).normal(0, 1e-4, (CHANNELS, 4)).astype(np.float32)
    head = openvino.opset13.sigmoid(openvino.opset13.matmul(features, openvino.op.Constant(weights), False, False))
    return openvino.Model([head.output(0), *[features] * embeds], graph.get_parameters())


def run(graph: Any, precision: str = "f32") -> NDArray[np.float32]:
    request = load_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": precision}).create_infer_request()
    outputs = []
    for image in SAMPLES:
        request.infer([image[np.newaxis]])
        outputs.append(request.get_output_tensor(0).data[0].copy())
    return np.array(outputs)


def rounded(graph: Any, folder: Path) -> Any:
    exact = run(graph.clone())
    rounded = round_graph(import_openvino(), load_core(), graph, SAMPLES, str(folder))
    np.testing.assert_allclose(rounded.exact, exact, rtol=1e-5, atol=1e-5)
    return rounded.graph


def weights_of(graph: Any) -> list[NDArray[np.float32]]:
    kinds = ("Convolution", "GroupConvolution")
    return [node.input_value(1).get_node().data for node in graph.get_ordered_ops() if node.get_type_name() in kinds]


@pytest.mark.parametrize("stored", ["f32", "f16"])
@pytest.mark.parametrize("kinds", [("full",), ("depthwise",), ("full", "depthwise", "full")])
def test_rounded_weights_change_the_average_output_of_a_layer_hardly(
    tmp_path: Path, kinds: tuple[str, ...], stored: str
) -> None:
    exact, plain = run(layered(*kinds)), layered(*kinds)
    for node in plain.get_ordered_ops():
        if node.get_type_name() in ("Convolution", "GroupConvolution"):
            values = to_bfloat16(node.input_value(1).get_node().data)
            node.input(1).replace_source_output(import_openvino().op.Constant(values).output(0))

    corrected = rounded(layered(*kinds, stored=stored), tmp_path)

    before, after = (np.abs((run(graph) - exact).mean(0)).mean() for graph in (plain, corrected))
    assert after < before / 5
    for weights in weights_of(corrected):
        np.testing.assert_array_equal(weights, to_bfloat16(weights))


def test_only_weights_are_widened(tmp_path: Path) -> None:
    openvino = import_openvino()
    ops, graph = openvino.opset13, layered("full")
    shape = ops.convert(openvino.op.Constant(np.array([1, CHANNELS], np.int32)), "i64")
    shaped = ops.reshape(graph.output(0).get_node().input_value(0), shape, False)
    graph = openvino.Model([shaped], graph.get_parameters())
    exact = run(graph.clone())
    np.testing.assert_allclose(run(rounded(graph, tmp_path)), exact, rtol=0.05, atol=0.01)


def test_a_layer_without_a_bias_is_left_as_it_is(tmp_path: Path) -> None:
    graph = layered("no bias", "full")
    first, second = weights_of(graph)
    left, changed = weights_of(rounded(graph, tmp_path))
    np.testing.assert_array_equal(left, first)
    np.testing.assert_array_equal(changed, to_bfloat16(second))


@pytest.mark.skipif(not bfloat16_units(), reason="this processor has no units for bfloat16")
def test_the_first_layers_stay_in_float32(tmp_path: Path) -> None:
    graph = rounded(layered(*["full"] * (EXACT_LAYERS + 3)), tmp_path)
    compiled = load_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    described = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    precisions = [str(of["runtimePrecision"].value) for of in described if of["layerType"].value == "Convolution"]
    assert precisions == ["f32"] * EXACT_LAYERS + ["bf16"] * 3


@pytest.mark.skipif(not bfloat16_units(), reason="this processor has no units for bfloat16")
def test_features_that_are_an_output_too_change_no_probability(tmp_path: Path) -> None:
    kinds = ["full"] * (EXACT_LAYERS + 2)
    alone, exposed = (run(rounded(with_head(layered(*kinds), embeds), tmp_path), "bf16") for embeds in (False, True))
    np.testing.assert_array_equal(exposed, alone)


def test_numbers_are_rounded_to_the_nearest_that_bfloat16_has() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="comes with TensorFlow")
    values = np.random.default_rng(2).normal(0, 1, 10_000).astype(np.float32)
    values = np.concatenate([values, np.array([0, -0.0, 1, 1 + 2**-8, 1 + 3 * 2**-8, -6, 1e-30], np.float32)])
    np.testing.assert_array_equal(to_bfloat16(values), values.astype(ml_dtypes.bfloat16).astype(np.float32))
