"""Each operation is in TensorFlow what it is in ONNX, for any number of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from model.foreign.onnx_file import for_one_image
from model.foreign.translation import translate
from tests.model.foreign import models

pytestmark = pytest.mark.usefixtures("tensorflow")
models.skip_without_openvino()
onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install 'scenetags[test]'")
reference = pytest.importorskip("onnx.reference")

SIDE = 9


class Case(NamedTuple):
    """An operation of ONNX on an image `x` of [n, 3, 9, 9], with its other inputs and attributes."""

    operation: str
    inputs: tuple[Any, ...] = ()
    attributes: dict[str, Any] = {}  # noqa: RUF012 - never changed


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)


CASES = (
    Case("Conv", (numbers(4, 3, 3, 3), numbers(4)), {"pads": [1, 1, 1, 1]}),
    Case("Conv", (numbers(4, 3, 3, 3),), {"pads": [0, 1, 1, 0], "strides": [2, 2]}),
    Case("Conv", (numbers(4, 3, 3, 3),), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", (numbers(4, 3, 3, 3),), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    Case("Conv", (numbers(4, 3, 3, 2),), {"dilations": [2, 2], "pads": [2, 1, 2, 1]}),
    Case("Conv", (numbers(6, 1, 3, 3),), {"group": 3, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("MaxPool", (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("MaxPool", (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    Case("AveragePool", (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("AveragePool", (), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    Case("AveragePool", (), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    Case("BatchNormalization", (numbers(3), numbers(3), numbers(3), np.abs(numbers(3)) + 1)),
    Case("GlobalMaxPool"),
    Case("Add", (numbers(3, 1, 1),)),
    Case("Sub", (numbers(1, 3, 1, 1),)),
    Case("Mul", (numbers(1),)),
    Case("Div", (np.abs(numbers(9)) + 1,)),
    Case("Max", (numbers(1, 3, 1, 1),)),
    Case("Pow", (np.array(2, np.float32),)),
    Case("PRelu", (numbers(3, 1, 1),)),
    Case("LeakyRelu", (), {"alpha": 0.1}),
    Case("HardSwish"),
    Case("HardSigmoid", (), {"alpha": 0.3, "beta": 0.4}),
    Case("Elu"),
    Case("Softplus"),
    Case("Clip", (np.array(-0.3, np.float32), np.array(0.6, np.float32))),
    Case("Softmax", (), {"axis": 1}),
    Case("ReduceMean", (np.array([1]),), {"keepdims": 1}),
    Case("ReduceSum", (np.array([2]),), {"keepdims": 0}),
    Case("LayerNormalization", (numbers(9), numbers(9)), {"axis": -1}),
    Case("Transpose", (), {"perm": [0, 2, 3, 1]}),
    Case("Transpose", (), {"perm": [0, 3, 1, 2]}),
    Case("Reshape", (np.array([0, 3, 81]),)),
    Case("Flatten"),
    Case("Slice", (np.array([2, 0]), np.array([-1, 2]), np.array([3, 1]), np.array([2, 1]))),
    Case("Gather", (np.array([2, 0]),), {"axis": 1}),
    Case("Pad", (np.array([0, 1, 2, 0, 0, 0, 1, 1]), np.array(0.5, np.float32))),
    Case("Pad", (np.array([0, 0, 2, 1, 0, 0, 1, 1]),), {"mode": "reflect"}),
    Case("MatMul", (numbers(9, 4),)),
    Case("Split", (), {"axis": 1, "num_outputs": 3}),
    Case("Unsqueeze", (np.array([2]),)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.operation)
def test_an_operation_computes_what_its_reference_does(case: Case, tmp_path: Path) -> None:
    from pipelines.inference.openvino_runtime import load_core

    names = [f"input_{number}" for number in range(len(case.inputs))]
    results = [f"y{number}" for number in range(case.attributes.get("num_outputs", 1))]
    node = onnx.helper.make_node(case.operation, ["x", *names], results, **case.attributes)
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    y = onnx.helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, None)
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in zip(names, case.inputs, strict=True)]
    graph = onnx.helper.make_graph([node], "operation", [x], [y], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (tmp_path / "operation.onnx").write_bytes(model.SerializeToString())
    images = np.random.default_rng(1).normal(0, 1, (2, SIDE, SIDE, 3)).astype(np.float32)

    read = load_core().read_model(tmp_path / "operation.onnx")
    found = translate(for_one_image("operation", read, 0, SIDE, True), images, channels_first=True)

    expected = reference.ReferenceEvaluator(model).run(None, {"x": images.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)
