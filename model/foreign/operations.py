"""What each operation of OpenVINO is in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from model.foreign.translation import Step, Value

_LOWEST = float(np.finfo(np.float32).min)


def _unary(function: Callable[[Any], Any], step: Step) -> Value:
    return Value(function(step.inputs[0].tensor), step.inputs[0].is_last)


def _binary(function: Callable[[Any, Any], Any], step: Step) -> Value:
    first, second = step.inputs
    is_last = any(value.is_last for value in step.inputs)
    if is_last and all(
        value.is_constant or len(shape) == 4 for value, shape in zip(step.inputs, step.shapes, strict=True)
    ):
        return Value(function(first.channels_last(), second.channels_last()), is_last=True)
    return Value(function(first.in_order(), second.in_order()))


def _clamp(step: Step) -> Value:
    low, high = float(step.attributes["min"]), float(step.attributes["max"])
    return _unary(tf.nn.relu6 if (low, high) == (0, 6) else lambda x: tf.clip_by_value(x, low, high), step)


def _hard_sigmoid(step: Step) -> Value:
    alpha, beta = float(step.constant(1)), float(step.constant(2))
    return _unary(lambda x: tf.clip_by_value(x * alpha + beta, 0.0, 1.0), step)


def _swish(step: Step) -> Value:
    beta = float(step.constant(1)) if len(step.inputs) > 1 else 1.0
    return _unary(lambda x: x * tf.sigmoid(x * beta), step)


def _gelu(step: Step) -> Value:
    is_rough = str(step.attributes.get("approximation_mode", "erf")).lower() == "tanh"
    return _unary(partial(tf.nn.gelu, approximate=is_rough), step)


def _prelu(step: Step) -> Value:
    slope = step.constant(1)
    if slope.size > 1:
        slope = slope.reshape(-1, *(1,) * (len(step.shapes[0]) - 2))
    step.inputs[1] = Value(slope)
    return _binary(lambda x, a: tf.nn.relu(x) - a * tf.nn.relu(-x), step)


def _convolution(step: Step) -> Value:
    kernel = step.constant(1).transpose(2, 3, 1, 0)
    return Value(tf.nn.conv2d(*_padded(step, kernel.shape[:2], kernel), dilations=_dilations(step)), is_last=True)


def _group_convolution(step: Step) -> Value:
    # [groups, outputs, inputs, rows, columns], the outputs and inputs of one group.
    kernel = step.constant(1)
    groups, _, inputs, rows, columns = kernel.shape
    if inputs == 1:
        depthwise = kernel[:, :, 0].transpose(2, 3, 0, 1)
        image, filters, strides, padding = _padded(step, (rows, columns), depthwise)
        found = tf.nn.depthwise_conv2d(image, filters, (1, *strides, 1), padding, dilations=_dilations(step))
        return Value(found, is_last=True)
    image, _, strides, padding = _padded(step, (rows, columns), kernel)
    parts = tf.split(image, groups, axis=3)
    filters = [part.transpose(2, 3, 1, 0) for part in kernel]
    computed = [
        tf.nn.conv2d(part, of_part, strides, padding, dilations=_dilations(step))
        for part, of_part in zip(parts, filters, strict=True)
    ]
    return Value(tf.concat(computed, axis=3), is_last=True)


def _dilations(step: Step) -> list[int]:
    return list(step.attributes.get("dilations", (1, 1)))


def _pads(step: Step, window: Sequence[int]) -> list[tuple[int, int]]:
    """Return the rows and columns to add before and after an image, so that all windows of the result fit."""
    begin, strides, dilations = step.attributes["pads_begin"], step.attributes["strides"], _dilations(step)
    sizes = zip(step.shapes[0][2:], step.results[0][2:], begin, window, strides, dilations, strict=True)
    return [
        (int(before), max(0, (out - 1) * stride + (size - 1) * dilation + 1 - length - int(before)))
        for length, out, before, size, stride, dilation in sizes
    ]


def _padded(step: Step, window: Sequence[int], kernel: Any, fill: float = 0.0) -> tuple[Any, Any, list[int], str]:
    """Return image, kernel, strides and padding of a convolution or pooling in TensorFlow."""
    strides = list(step.attributes["strides"])
    image, pads = step.inputs[0].channels_last(), _pads(step, window)
    if not np.any(pads):
        return image, kernel, strides, "VALID"
    if strides == [1, 1] and step.shapes[0][2:] == step.results[0][2:] and all(a == b for a, b in pads):
        return image, kernel, strides, "SAME"
    return tf.pad(image, [(0, 0), *pads, (0, 0)], constant_values=fill), kernel, strides, "VALID"


def _max_pool(step: Step) -> Value:
    window = list(step.attributes["kernel"])
    if _dilations(step) != [1, 1]:
        found = tf.nn.pool(
            tf.pad(step.inputs[0].channels_last(), [(0, 0), *_pads(step, window), (0, 0)], constant_values=_LOWEST),
            window,
            "MAX",
            list(step.attributes["strides"]),
            dilations=_dilations(step),
        )
        return Value(found, is_last=True)
    image, size, strides, padding = _padded(step, window, window, _LOWEST)
    return Value(tf.nn.max_pool2d(image, size, strides, padding), is_last=True)


def _average_pool(step: Step) -> Value:
    window, strides = list(step.attributes["kernel"]), list(step.attributes["strides"])
    image, pads = step.inputs[0].channels_last(), _pads(step, window)
    if not np.any(pads):
        return Value(tf.nn.avg_pool2d(image, window, strides, "VALID"), is_last=True)
    found = tf.nn.avg_pool2d(tf.pad(image, [(0, 0), *pads, (0, 0)]), window, strides, "VALID")
    # What the graph pads may be counted; what only fills up the last window is not.
    ends = zip(step.attributes["pads_begin"], step.attributes["pads_end"], strict=True)
    own = [(int(before), min(int(after), pad[1])) for (before, after), pad in zip(ends, pads, strict=True)]
    filled = [(0, pad[1] - after) for (_, after), pad in zip(own, pads, strict=True)]
    ones = np.ones(step.shapes[0][2:], np.float32)
    counted = np.pad(np.pad(ones, own, constant_values=0 if step.attributes["exclude-pad"] else 1), filled)
    shares = tf.nn.avg_pool2d(counted[np.newaxis, ..., np.newaxis], window, strides, "VALID")
    return Value(found / shares, is_last=True)


def _batch_normalization(step: Step) -> Value:
    gamma, beta, mean, variance = (step.constant(index) for index in range(1, 5))
    factor = gamma / np.sqrt(variance + float(step.attributes["epsilon"]))
    offset = beta - mean * factor
    if step.inputs[0].is_last:
        return Value(step.inputs[0].tensor * factor + offset, is_last=True)
    shape = (-1, *(1,) * (len(step.shapes[0]) - 2))
    return Value(step.inputs[0].tensor * factor.reshape(shape) + offset.reshape(shape))


def _normalize(step: Step) -> Value:
    axes = step.axes(step.constant(1))
    value, epsilon = step.inputs[0].tensor, float(step.attributes["eps"])
    mean = tf.reduce_mean(value, axes, keepdims=True)
    found = value - mean
    if step.attributes["normalize_variance"]:
        variance = tf.reduce_mean(found * found, axes, keepdims=True)
        is_inside = str(step.attributes["eps_mode"]).lower() == "inside_sqrt"
        found = found * tf.math.rsqrt(variance + epsilon) if is_inside else found / (tf.sqrt(variance) + epsilon)
    return Value(found, step.inputs[0].is_last)


def _reduce(function: Callable[..., Any], step: Step) -> Value:
    value, axes = step.inputs[0], step.constant(1)
    if step.attributes["keep_dims"]:
        return Value(function(value.tensor, step.axes(axes), keepdims=True), value.is_last)
    if value.is_last and sorted(int(axis) % 4 for axis in np.atleast_1d(axes)) == [2, 3]:
        return Value(function(value.tensor, [1, 2]))
    return Value(function(value.in_order(), [int(axis) for axis in np.atleast_1d(axes)]))


def _reshape(step: Step) -> Value:
    value, shape = step.inputs[0], step.results[0]
    # The order of channels makes no difference if there is one place alone.
    is_point = value.is_last and step.shapes[0][2:] == (1, 1)
    return Value(tf.reshape(value.tensor if is_point else value.in_order(), (-1, *shape[1:])))


def _transpose(step: Step) -> Value:
    value = step.inputs[0]
    order = tuple(int(axis) for axis in step.constant(1)) or tuple(range(len(step.shapes[0])))[::-1]
    if value.is_last and order == (0, 2, 3, 1):
        return Value(value.tensor)
    if not value.is_last and not value.is_constant and order == (0, 3, 1, 2):
        return Value(value.tensor, is_last=True)
    return Value(tf.transpose(value.in_order(), order))


def _concatenate(step: Step) -> Value:
    axis = int(step.attributes["axis"]) % len(step.shapes[0])
    if len(step.shapes[0]) == 4 and any(value.is_last for value in step.inputs):
        places = (0, 3, 1, 2)
        return Value(tf.concat([value.channels_last() for value in step.inputs], places[axis]), is_last=True)
    return Value(tf.concat([value.in_order() for value in step.inputs], axis))


def _slice(step: Step) -> Value:
    starts, stops, strides = (step.constant(index) for index in (1, 2, 3))
    axes = step.axes(step.constant(4) if len(step.inputs) > 4 else np.arange(len(starts)))
    cut = [slice(None)] * len(step.shapes[0])
    for axis, start, stop, stride in zip(axes, starts, stops, strides, strict=True):
        # Ends beyond the first element or the last are as far away as numbers go.
        at, end = (int(np.clip(value, -(2**31) + 1, 2**31 - 1)) for value in (start, stop))
        cut[axis] = slice(at, end, int(stride))
    return Value(step.inputs[0].tensor[tuple(cut)], step.inputs[0].is_last)


def _split(step: Step) -> list[Value]:
    [axis] = step.axes(step.constant(1))
    place = int(np.atleast_1d(step.constant(1))[0]) % len(step.shapes[0])
    sizes = [result[place] for result in step.results]
    return [Value(part, step.inputs[0].is_last) for part in tf.split(step.inputs[0].tensor, sizes, axis)]


def _gather(step: Step) -> Value:
    data, axis = step.inputs[0].in_order(), int(step.constant(2))
    return Value(tf.gather(data, step.constant(1), axis=axis))


def _pad(step: Step) -> Value:
    begin, end = step.constant(1), step.constant(2)
    value = float(step.constant(3)) if len(step.inputs) > 3 else 0.0
    pads = [(int(before), int(after)) for before, after in zip(begin, end, strict=True)]
    if step.inputs[0].is_last:
        pads = [pads[0], pads[2], pads[3], pads[1]]
    mode = str(step.attributes["pad_mode"]).upper()
    return Value(tf.pad(step.inputs[0].tensor, pads, mode, value), step.inputs[0].is_last)


def _softmax(step: Step) -> Value:
    axis = step.attributes.get("axis", -1)
    return Value(tf.nn.softmax(step.inputs[0].tensor, step.axes(axis)[0]), step.inputs[0].is_last)


def _multiply_matrices(step: Step) -> Value:
    first, second = (value.in_order() for value in step.inputs)
    turned = {"transpose_a": step.attributes["transpose_a"], "transpose_b": step.attributes["transpose_b"]}
    return Value(tf.matmul(first, second, **turned))


def _convert(step: Step) -> Value:
    kind = str(step.attributes["destination_type"])
    kinds = {"f16": tf.float32, "f32": tf.float32, "f64": tf.float32, "i32": tf.int32, "i64": tf.int64}
    return _unary(lambda x: tf.cast(x, kinds[kind]), step)


OPERATIONS: dict[str, Callable[[Step], Value | list[Value]]] = {
    "Abs": partial(_unary, tf.abs),
    "Add": partial(_binary, tf.add),
    "AvgPool": _average_pool,
    "BatchNormInference": _batch_normalization,
    "Clamp": _clamp,
    "Concat": _concatenate,
    "Convert": _convert,
    "Convolution": _convolution,
    "Divide": partial(_binary, tf.divide),
    "Elu": partial(_unary, tf.nn.elu),
    "Erf": partial(_unary, tf.math.erf),
    "Exp": partial(_unary, tf.exp),
    "Gather": _gather,
    "Gelu": _gelu,
    "GroupConvolution": _group_convolution,
    "HSwish": partial(_unary, lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6)),
    "HardSigmoid": _hard_sigmoid,
    "MVN": _normalize,
    "MatMul": _multiply_matrices,
    "MaxPool": _max_pool,
    "Maximum": partial(_binary, tf.maximum),
    "Minimum": partial(_binary, tf.minimum),
    "Mish": partial(_unary, lambda x: x * tf.tanh(tf.nn.softplus(x))),
    "Multiply": partial(_binary, tf.multiply),
    "PRelu": _prelu,
    "Pad": _pad,
    "Power": partial(_binary, tf.pow),
    "ReduceMax": partial(_reduce, tf.reduce_max),
    "ReduceMean": partial(_reduce, tf.reduce_mean),
    "ReduceSum": partial(_reduce, tf.reduce_sum),
    "Relu": partial(_unary, tf.nn.relu),
    "Reshape": _reshape,
    "Sigmoid": partial(_unary, tf.sigmoid),
    "Slice": _slice,
    "SoftPlus": partial(_unary, tf.nn.softplus),
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": partial(_unary, tf.sqrt),
    "Squeeze": _reshape,
    "Subtract": partial(_binary, tf.subtract),
    "Swish": _swish,
    "Tanh": partial(_unary, tf.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
    "VariadicSplit": _split,
}
