"""Write the model files of a bundle from a TensorFlow function."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from model.foreign.original import ForeignError
from model.foreign.scaling import Scaling, in_graph
from pipelines.inference.bundle import LITERT_MODEL, SAVED_MODEL
from pipelines.supervision.machine import native_messages_muted

_UNSUPPORTED = re.compile(r"\btf\.(\w+)")


def write_graph(
    folder: Path,
    image_size: int,
    compute: Callable[[Any], Any],
    tracked: Iterable[Any],
    *,
    scaling: Scaling,
    takes_uint8: bool,
    sigmoid: bool,
) -> None:
    """Write `saved_model/` (signature `serve`) and `model.tflite` with a free batch size.

    Args:
      folder: where to.
      image_size: S, in pixels.
      compute: from images [N, S, S, 3], scaled float32 or uint8, to outputs [N, ...].
      tracked: variables and other objects that `compute` needs.
      scaling: of the pixels.
      takes_uint8: whether `compute` takes pixels as they are.
      sigmoid: whether the outputs are logits.

    Raises:
      ForeignError: it has operations that LiteRT has not.
      OSError: they cannot be written.
    """
    import tensorflow as tf

    def serve(pixels: Any) -> Any:
        outputs = tf.cast(compute(pixels if takes_uint8 else in_graph(pixels, scaling)), tf.float32)
        flat = tf.reshape(outputs, (tf.shape(pixels)[0], -1)) if outputs.shape.rank != 2 else outputs
        return tf.sigmoid(flat) if sigmoid else flat

    module = tf.Module()
    module.tracked = list(tracked)
    pixels = tf.TensorSpec((None, image_size, image_size, 3), tf.uint8, name="pixels")
    module.serve = tf.function(serve, input_signature=[pixels], autograph=False)
    path = str(folder / SAVED_MODEL)
    with native_messages_muted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tf.saved_model.save(module, path, signatures={"serve": module.serve})
        except tf.errors.OpError as error:  # e.g. because the disk is full
            raise OSError(" ".join(error.message.split())) from error
        converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=["serve"])
        try:
            model = converter.convert()
        except Exception as error:
            # The converter raises errors of many types, with pages of MLIR.
            named = ", ".join(sorted(set(_UNSUPPORTED.findall(str(error))))) or "of unknown name"
            raise ForeignError(
                f"it cannot become a LiteRT file: operations {named}", "replace them in the model, and export it again"
            ) from error
    (folder / LITERT_MODEL).write_bytes(model)
