"""Open a LiteRT (TensorFlow Lite) file, in float32 or int8; it becomes the bundle's, with scaling put in front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.foreign.litert_graph import NUDGE, LiteRTGraph
from model.foreign.original import Activation, ForeignError, Wanted, find_image_size, find_output
from model.foreign.scaling import Scaling, scale, scales_down
from pipelines.errors import quantity
from pipelines.inference.bundle import LITERT_MODEL
from pipelines.inference.operations import check_litert

_ACTIVATIONS: dict[str, Activation] = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}


class LiteRTFile:
    """A LiteRT file; no SavedModel can be made from it, so its bundle has none."""

    format = "LiteRT file"
    package = "ai-edge-litert"

    def __init__(self, path: Path, wanted: Wanted) -> None:
        """Load a file.

        Raises:
          ForeignError: it is no model of RGB images.
          BundleError: it is damaged, has custom operations, or weights in other files.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._content = path.read_bytes()
        check_litert(self._content, path.name)
        try:
            graph = LiteRTGraph(self._content)
            self._interpreter = Interpreter(model_content=self._content, num_threads=1)
            self._interpreter.allocate_tensors()
        except Exception as error:
            # Both raise errors of a dozen types for what is damaged, and for some graphs that take images of any size.
            raise ForeignError(
                f"{path.name}: LiteRT cannot load it ({' '.join(str(error).split())[:300]})",
                "if it takes images of any size, convert the model once more with a fixed one",
            ) from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1:
            raise ForeignError(
                f"{path.name}: it has {quantity(len(inputs), 'input')}", "only models of one image are imported"
            )
        [self._input] = inputs
        shapes = [_free(details["shape_signature"]) for details in (self._input, *outputs)]
        self.image_size = find_image_size(path.name, shapes[0], wanted)
        self._index = find_output(path.name, shapes[1:], wanted)
        self._output, self._labels = outputs[self._index], wanted.labels
        for details in (self._input, self._output):
            _check_type(path.name, details)
        self._takes_pixels = self._input["dtype"] is np.uint8 and not self._input["quantization"][0]
        self.input_range = None if self._takes_pixels else _range(self._input)
        factor = graph.first_factor()
        self.scales_itself = None
        if self._takes_pixels:
            self.scales_itself = "its input is uint8"
        elif factor is not None and scales_down(factor):
            self.scales_itself = "its first operation scales them"
        self.activation = _ACTIVATIONS.get(graph.last_operation(self._index))
        self.is_int8 = graph.computes_in_int8
        self._interpreter.resize_tensor_input(self._input["index"], (1, self.image_size, self.image_size, 3))
        self._interpreter.allocate_tensors()

    def answer(self, images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
        """Run it with LiteRT; see `Original.answer`."""
        answers = np.empty((len(images), self._labels), np.float32)
        for row, image in enumerate(images):
            batch = image[np.newaxis]
            self._interpreter.set_tensor(
                self._input["index"], batch if self._takes_pixels else self._rounded(scale(batch, scaling))
            )
            self._interpreter.invoke()
            found = self._interpreter.get_tensor(self._output["index"]).astype(np.float32)
            step, zero = self._output["quantization"]
            answers[row] = ((found - zero) * np.float32(step) if step else found).reshape(-1)
        return answers

    def write(self, folder: Path, scaling: Scaling, *, sigmoid: bool) -> None:
        """Write the model file; see `Original.write`."""
        wrapped = LiteRTGraph(self._content).wrap(
            self._index, self._labels, None if self._takes_pixels else scaling, sigmoid=sigmoid
        )
        (folder / LITERT_MODEL).write_bytes(wrapped)

    def _rounded(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Round scaled pixels to the integers of the input, if it takes integers."""
        step, zero = self._input["quantization"]
        if not step:
            return values
        kind = self._input["dtype"]
        rounded = np.floor(values.astype(np.float64) / step + zero + 0.5 + NUDGE)
        return np.asarray(np.clip(rounded, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind))


def _free(shape: NDArray[np.int32]) -> list[int | None]:
    """Return a shape whose free sizes are None; the batch, which may be fixed, is the engine's."""
    return [None if size < 0 else int(size) for size in shape]


def _range(details: dict[str, Any]) -> tuple[float, float] | None:
    """Return the numbers that the least and the greatest integer of a tensor stand for; None if it has no integers."""
    step, zero = details["quantization"]
    if not step:
        return None
    limits = np.iinfo(details["dtype"])
    return float((limits.min - zero) * step), float((limits.max - zero) * step)


def _check_type(name: str, details: dict[str, Any]) -> None:
    """Refuse a tensor that is neither real numbers nor integers that stand for them.

    Raises:
      ForeignError: it is not.
    """
    kind, step = details["dtype"], details["quantization"][0]
    if kind is np.float32 or kind is np.uint8 or (kind is np.int8 and step):
        return
    raise ForeignError(
        f"{name}: {details['name']} is {np.dtype(kind).name}", "convert the model to float32, int8 or uint8"
    )
