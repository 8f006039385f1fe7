"""Translate a graph that OpenVINO has read into TensorFlow.

OpenVINO reads ONNX of every version into operations of its own: fewer, with all shapes known and all that is constant
computed. Channels come second in them. TensorFlow and LiteRT compute convolutions with channels last, so a tensor of
images is kept so from the first convolution on, and only put back into order where an operation needs it.

The batch has one image in the graph that is read, and any number in the translation: it stays the first axis, and what
is reshaped gets as many rows as come out. Where that is wrong, the answers differ from the original's, and this is
checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.foreign.original import ForeignError

# Where each axis of [N, C, H, W] is in [N, H, W, C], and where each of these comes from.
_PLACES = (0, 3, 1, 2)
_LAST = (0, 2, 3, 1)


class Value(NamedTuple):
    """What flows in a graph.

    Attributes:
      tensor: of TensorFlow, or a constant as an array.
      is_last: whether its channels are last, although they are second in the graph.
    """

    tensor: Any
    is_last: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether it does not depend on the image."""
        return isinstance(self.tensor, np.ndarray)

    def in_order(self) -> Any:
        """Return it with its axes in the order of the graph."""
        import tensorflow as tf

        return tf.transpose(self.tensor, _PLACES) if self.is_last else self.tensor

    def channels_last(self) -> Any:
        """Return it with channels last; a constant with fewer axes than four is one that is broadcast."""
        import tensorflow as tf

        if self.is_last:
            return self.tensor
        if self.is_constant:
            return self.tensor.reshape((1,) * (4 - self.tensor.ndim) + self.tensor.shape).transpose(_LAST)
        return tf.transpose(self.tensor, _LAST)


class Step:
    """An operation of the graph, with the values of its inputs."""

    def __init__(self, node: Any, inputs: list[Value]) -> None:
        """Take an operation of OpenVINO."""
        self.kind: str = node.get_type_name()
        self.inputs = inputs
        self.attributes: dict[str, Any] = node.get_attributes()
        self.shapes = [tuple(node.get_input_shape(index)) for index in range(node.get_input_size())]
        self.results = [tuple(node.get_output_shape(index)) for index in range(node.get_output_size())]

    def constant(self, index: int) -> NDArray[Any]:
        """Return an input that must be constant, as an array."""
        if not self.inputs[index].is_constant:
            raise ForeignError(f"operation {self.kind} is computed from the image where it is not translated")
        return np.asarray(self.inputs[index].tensor)

    def axes(self, axes: Any) -> list[int]:
        """Return axes of the first input, counted from 0, where they are in its tensor."""
        rank = len(self.shapes[0])
        counted = [int(axis) % rank for axis in np.atleast_1d(axes)]
        return [_PLACES[axis] for axis in counted] if self.inputs[0].is_last else counted


def translate(graph: Any, image: Any, *, channels_first: bool) -> Any:
    """Compute the outputs of a graph in TensorFlow.

    Args:
      graph: `openvino.Model` of one input and one output, for one image.
      image: tensor [N, S, S, 3].
      channels_first: whether the graph takes [N, 3, S, S].

    Raises:
      ForeignError: it has operations that are not translated.
    """
    from model.foreign.operations import OPERATIONS

    nodes = graph.get_ordered_ops()
    ends = ("Parameter", "Constant", "Result")
    unknown = sorted({node.get_type_name() for node in nodes} - OPERATIONS.keys() - set(ends))
    if unknown:
        raise ForeignError(f"it has operations that are not translated: {', '.join(unknown)}")
    values: dict[tuple[str, int], Value] = {}
    for node in nodes:
        kind, name = node.get_type_name(), node.get_name()
        sources = [node.input_value(index) for index in range(node.get_input_size())]
        inputs = [values[source.get_node().get_name(), source.get_index()] for source in sources]
        if kind == "Result":
            return inputs[0].in_order()
        if kind == "Parameter":
            found = [Value(image, channels_first)]
        elif kind == "Constant":
            found = [Value(_in_float32(np.array(node.get_data())))]
        else:
            translated: Callable[[Step], Value | list[Value]] = OPERATIONS[kind]
            results = translated(Step(node, inputs))
            found = results if isinstance(results, list) else [results]
        values |= {(name, index): value for index, value in enumerate(found)}
    raise ForeignError("its graph has no output")


def _in_float32(constant: NDArray[Any]) -> NDArray[Any]:
    return constant.astype(np.float32) if constant.dtype.kind == "f" else constant
