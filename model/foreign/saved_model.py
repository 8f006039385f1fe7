"""Open a SavedModel of any origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.foreign.graph import write_graph
from model.foreign.original import Activation, ForeignError, Wanted, find_image_size, find_output
from model.foreign.scaling import Scaling, scale
from pipelines.errors import quantity
from pipelines.inference.operations import check_saved_model

_BATCH = 32
_SIGNATURES = ("serving_default", "serve")


class SavedModel:
    """A SavedModel, run by one of its signatures."""

    format = "SavedModel"
    package = "tensorflow"
    is_int8 = False
    input_range: tuple[float, float] | None = None
    activation: Activation | None = None

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        """Load a SavedModel.

        Raises:
          ForeignError: it has no signature of one image, or cannot be loaded.
          BundleError: one of its operations could do more than compute.
        """
        import tensorflow as tf

        name = folder.resolve().name
        check_saved_model(str(folder), name)
        try:
            self._loaded = tf.saved_model.load(str(folder))  # its signatures do not keep its variables alive
        except Exception as error:
            # TensorFlow raises errors of a dozen types for what is damaged.
            reason = " ".join(str(error).split())[:300]
            raise ForeignError(f"{name}: TensorFlow {tf.__version__} cannot load it ({reason})") from error
        self._signature = _find_signature(name, self._loaded)
        [(self._input, spec)] = self._signature.structured_input_signature[1].items()
        if spec.shape.rank is None:
            raise ForeignError(f"{name}: its input has no shape", "export it with the shape of its input")
        if spec.shape[0] is not None:
            raise ForeignError(
                f"{name}: its input is a batch of exactly {quantity(spec.shape[0], 'image')}",
                "export it with a free batch size",
            )
        if spec.dtype not in (tf.float32, tf.uint8):
            raise ForeignError(f"{name}: its input is {spec.dtype.name}", "export it with an input of float32 or uint8")
        self._takes_uint8 = spec.dtype == tf.uint8
        self.image_size = find_image_size(name, spec.shape.as_list(), wanted)
        self.scales_itself = "its input is uint8" if self._takes_uint8 else None
        outputs = self._signature.structured_outputs
        shapes = [_shape(output) for output in outputs.values()]
        self._output = list(outputs)[find_output(name, shapes, wanted)]

    def answer(self, images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
        """Run it with TensorFlow; see `Original.answer`."""
        answers = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            answers.append(self._compute(batch if self._takes_uint8 else scale(batch, scaling)).numpy())
        return np.concatenate(answers).reshape(len(images), -1).astype(np.float32)

    def write(self, folder: Path, scaling: Scaling, *, sigmoid: bool) -> None:
        """Write the model files; see `Original.write`."""
        write_graph(
            folder,
            self.image_size,
            self._compute,
            [self._loaded],
            scaling=scaling,
            takes_uint8=self._takes_uint8,
            sigmoid=sigmoid,
        )

    def _compute(self, batch: Any) -> Any:
        import tensorflow as tf

        return self._signature(**{self._input: tf.convert_to_tensor(batch)})[self._output]


def _find_signature(name: str, loaded: Any) -> Any:
    """Return the signature that computes the outputs of images.

    Raises:
      ForeignError: there is none, there are several, or it has several inputs.
    """
    signatures = dict(loaded.signatures)
    usual = [signature for signature in _SIGNATURES if signature in signatures]
    if not usual and len(signatures) != 1:
        found = f"several signatures: {', '.join(sorted(signatures))}" if signatures else "no signature"
        raise ForeignError(f"{name}: it has {found}", "export it with one signature, serving_default")
    signature = signatures[usual[0] if usual else next(iter(signatures))]
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1:
        raise ForeignError(f"{name}: it has {quantity(len(inputs), 'input')}", "only models of one image are imported")
    return signature


def _shape(output: Any) -> list[int | None]:
    return [None] if output.shape.rank is None else list(output.shape.as_list())
