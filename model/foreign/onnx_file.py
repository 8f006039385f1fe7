"""Open an ONNX file with OpenVINO."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.foreign.graph import write_graph
from model.foreign.original import Activation, ForeignError, Wanted, find_image_size, find_output
from model.foreign.scaling import Scaling, scale, scales_down
from model.foreign.translation import translate
from pipelines.errors import quantity

_ACTIVATIONS: dict[str, Activation] = {"Sigmoid": "sigmoid", "Softmax": "softmax", "SoftMax": "softmax"}


class ONNXFile:
    """An ONNX file, with channels first or last."""

    format = "ONNX file"
    package = "openvino"
    is_int8 = False
    input_range: tuple[float, float] | None = None

    def __init__(self, path: Path, wanted: Wanted) -> None:
        """Read a file.

        Raises:
          ForeignError: it is damaged, has operations that OpenVINO does not know, or is no model of RGB images.
        """
        if importlib.util.find_spec("openvino") is None:
            raise ForeignError("OpenVINO, which reads ONNX, is not installed", "run pip install 'scenetags[onnx]'")
        from pipelines.inference.openvino_runtime import load_core

        try:
            core = load_core()
        except Exception as error:
            raise ForeignError(
                f"OpenVINO, which reads ONNX, cannot be imported ({_reason(error)})",
                "install what it lacks, or run pip install --force-reinstall openvino",
            ) from error
        try:
            graph = core.read_model(path)
        except Exception as error:
            raise ForeignError(f"{path.name}: OpenVINO cannot read it ({_reason(error)})") from error
        if len(graph.inputs) != 1:
            raise ForeignError(
                f"{path.name}: it has {quantity(len(graph.inputs), 'input')}", "only models of one image are imported"
            )
        shape = _sizes(graph.input(0).partial_shape)
        self._channels_first = len(shape) == 4 and shape[1] == 3 and shape[3] != 3
        in_order = [shape[axis] for axis in (0, 2, 3, 1)] if self._channels_first else shape
        self.image_size = find_image_size(path.name, in_order, wanted)
        kind = graph.input(0).element_type.get_type_name()
        if kind not in ("f32", "u8"):
            raise ForeignError(f"{path.name}: its input is {kind}", "export it with an input of float32 or uint8")
        self._takes_uint8 = kind == "u8"
        chosen = find_output(path.name, [_sizes(output.partial_shape) for output in graph.outputs], wanted)
        self._graph = for_one_image(path.name, graph, chosen, self.image_size, self._channels_first)
        self.scales_itself = "its input is uint8" if self._takes_uint8 else _find_scaling(self._graph)
        last = self._graph.get_results()[0].input_value(0).get_node()
        while last.get_type_name() in ("Reshape", "Squeeze"):
            last = last.input_value(0).get_node()
        self.activation = _ACTIVATIONS.get(last.get_type_name())
        self._request = core.compile_model(
            self._graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
        ).create_infer_request()

    def answer(self, images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
        """Run it with OpenVINO; see `Original.answer`."""
        answers = []
        for image in images:
            batch = image[np.newaxis] if self._takes_uint8 else scale(image[np.newaxis], scaling)
            ordered = np.ascontiguousarray(batch.transpose(0, 3, 1, 2) if self._channels_first else batch)
            [found] = self._request.infer([ordered]).values()
            answers.append(np.array(found, np.float32).reshape(-1))
        return np.stack(answers)

    def write(self, folder: Path, scaling: Scaling, *, sigmoid: bool) -> None:
        """Write the model files, translated into TensorFlow; see `Original.write`."""

        def compute(batch: Any) -> Any:
            return translate(self._graph, batch, channels_first=self._channels_first)

        write_graph(
            folder, self.image_size, compute, [], scaling=scaling, takes_uint8=self._takes_uint8, sigmoid=sigmoid
        )


def for_one_image(name: str, graph: Any, output: int, image_size: int, channels_first: bool) -> Any:
    """Fix the shapes of a graph, keep one output, and compute all that is constant.

    Raises:
      ForeignError: it does not take a single image.
    """
    import openvino
    from openvino.passes import ConstantFolding, Manager

    side = (image_size, image_size)
    try:
        kept = openvino.Model([graph.outputs[output]], graph.get_parameters(), name)
        kept.reshape([1, 3, *side] if channels_first else [1, *side, 3])
        passes = Manager()
        passes.register_pass(ConstantFolding())
        passes.run_passes(kept)
    except Exception as error:
        raise ForeignError(
            f"{name}: it does not take a single image ({_reason(error)})", "export it with a free batch size"
        ) from error
    return kept


def _find_scaling(graph: Any) -> str | None:
    """Return what shows that a model scales pixels itself: its first operation makes them much smaller."""
    targets = [target.get_node() for target in graph.input(0).get_target_inputs()]
    for node in targets[:1]:
        kind, other = node.get_type_name(), node.input_value(node.get_input_size() - 1).get_node()
        if kind in ("Multiply", "Divide") and other.get_type_name() == "Constant":
            largest = float(np.abs(np.array(other.get_data())).max())
            if largest and scales_down(1 / largest if kind == "Divide" else largest):
                return "its first operation scales them"
    return None


def _sizes(shape: Any) -> list[int | None]:
    if shape.rank.is_dynamic:
        return [None]
    return [None if size.is_dynamic else size.get_length() for size in shape]


def _reason(error: Exception) -> str:
    """Return what an error of OpenVINO says after the places in its code: its summary, or its last line."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines() if line.strip()]
    if "Summary:" in lines:
        return "; ".join(lines[lines.index("Summary:") + 1 :])[:300]
    return lines[-1][:300] if lines else type(error).__name__
