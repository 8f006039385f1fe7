"""Round a graph of OpenVINO to bfloat16 so that its probabilities change less.

Most of what bfloat16 changes comes from the weights: they are rounded once, so that each channel of a layer is off by
about the same amount in every image. That amount is known before the first image, and is taken from the layer's bias
("bias correction": M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV
2019). The rest comes from the first layers above all; they stay in float32. So does what follows the last convolution,
where features that are an output too would be computed in float32 anyway: embeddings must change no probability.
docs/speed.md has the figures.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT_LAYERS = 3
"""Convolutions, from the first one on, that stay in float32. Each costs about 2 % of the speed."""

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_EXACT = {"name": "DisablePrecisionConversion", "version": "0", "value": "dynamic:f16,bf16"}
"""The attribute that keeps a layer in float32; Python reaches it only in the file of a graph."""


class _Layer(NamedTuple):
    """A convolution with a bias.

    Attributes:
      node: of the convolution.
      weights: the input that reads them.
      bias: the input that reads it.
    """

    node: Any
    weights: Any
    bias: Any


class Rounded(NamedTuple):
    """A graph that loses little when it is computed in bfloat16.

    Attributes:
      graph: to be compiled.
      exact: float32[N, L], what the graph gave in float32 for the samples, before it was changed.
    """

    graph: Any
    exact: NDArray[np.float32]


def round_graph(openvino: Any, core: Any, graph: Any, samples: NDArray[np.uint8], folder: str) -> Rounded:
    """Round a graph.

    Args:
      openvino: the module.
      core: its runtime.
      graph: for one image at a time; it is changed.
      samples: uint8[N, S, S, 3], images from which the average input of each layer is taken.
      folder: for temporary files.
    """
    _widen(openvino, graph)
    layers = list(_layers(graph))
    exact, averages = _compute(openvino, core, graph.clone(), samples)
    for layer, average in zip(layers, averages, strict=True):
        _correct(openvino, layer, average)
    return Rounded(_keep_ends_exact(openvino, core, graph, folder), exact)


def _widen(openvino: Any, graph: Any) -> None:
    """Turn constants in float16, as some files hold their weights, into float32, in which they can be corrected."""
    from openvino.passes import ConstantFolding, Manager

    for node in graph.get_ordered_ops():
        kinds = node.get_type_name(), *(of.get_node().get_type_name() for of in node.input_values())
        if kinds == ("Convert", "Constant") and node.output(0).get_element_type() == openvino.Type.f32:
            values = node.input_value(0).get_node().data
            if values.dtype == np.float16:
                node.output(0).replace(openvino.op.Constant(values.astype(np.float32)).output(0))
    # What gives them another shape would stand between a layer and its bias.
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)


def _layers(graph: Any) -> Iterator[_Layer]:
    """Yield the layers that can be corrected: of others, OpenVINO rounds the weights all the same."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() not in _CONVOLUTIONS:
            continue
        readers = list(node.output(0).get_target_inputs())
        if len(readers) != 1 or readers[0].get_node().get_type_name() != "Add":
            continue
        layer = _Layer(node, node.input(1), readers[0].get_node().input(1 - readers[0].get_index()))
        sources = [reader.get_source_output().get_node().get_type_name() for reader in layer[1:]]
        # Not one number for all channels.
        if sources == ["Constant", "Constant"] and np.prod(layer.bias.get_shape()) == node.output(0).get_shape()[1]:
            yield layer


def _compute(
    openvino: Any, core: Any, graph: Any, samples: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], list[NDArray[np.float64]]]:
    """Return the output for each sample, and the average input of each layer by channel, over samples and places."""
    count = len(graph.outputs)
    places = openvino.op.Constant(np.array([0, 2, 3]))
    averages = [openvino.opset1.reduce_mean(layer.node.input_value(0), places) for layer in _layers(graph)]
    graph.add_outputs([average.output(0) for average in averages])
    # On one core: on a worker, there are as many processes as cores.
    how = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    request = core.compile_model(graph, "CPU", how).create_infer_request()
    outputs, of_images = [], []
    for image in samples:
        request.get_input_tensor().data[0] = image
        request.infer()
        outputs.append(request.get_output_tensor(0).data[0].copy())
        of_images.append([tensor.data.astype(np.float64) for tensor in request.output_tensors[count:]])
    return np.stack(outputs), [np.mean(of_layer, axis=0) for of_layer in zip(*of_images, strict=True)]


def _correct(openvino: Any, layer: _Layer, average: NDArray[np.float64]) -> None:
    """Round the weights of a layer, and take from its bias what that adds to the average output."""
    weights, bias = (reader.get_source_output().get_node().data for reader in layer[1:])
    rounded = to_bfloat16(weights)
    error = (rounded - weights.astype(np.float64)).sum((-2, -1))
    # Weights are [outputs, inputs, rows, columns], and of groups [groups, outputs, inputs, rows, columns].
    groups = len(error) if layer.node.get_type_name() == "GroupConvolution" else 1
    error, average = error.reshape(groups, -1, error.shape[-1]), average.reshape(groups, -1)
    shift = np.einsum("goi,gi->go", error, average).reshape(bias.shape)
    for reader, values in ((layer.weights, rounded), (layer.bias, bias - shift)):
        reader.replace_source_output(openvino.op.Constant(values.astype(np.float32)).output(0))


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest number that bfloat16 has, and to an even one in the middle of two."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def _keep_ends_exact(openvino: Any, core: Any, graph: Any, folder: str) -> Any:
    path, weights = (os.path.join(folder, name) for name in ("graph.xml", "graph.bin"))
    openvino.serialize(graph, path, weights)
    tree = ElementTree.parse(path)
    layers = tree.findall("layers/layer")
    places = [place for place, layer in enumerate(layers) if layer.get("type") in _CONVOLUTIONS]
    rounded = range(places[EXACT_LAYERS], places[-1] + 1) if len(places) > EXACT_LAYERS else range(0)
    for place, layer in enumerate(layers):
        if place not in rounded and layer.get("type") != "Parameter":
            described = layer.find("rt_info")
            if described is None:
                described = ElementTree.Element("rt_info")
                # Before the ports of the layer, behind its data.
                layer.insert(int(layer.find("data") is not None), described)
            ElementTree.SubElement(described, "attribute", _EXACT)
    tree.write(path)
    return core.read_model(path, weights)
