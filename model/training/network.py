"""Build the tagging network: MobileNetV2 under a sigmoid head, from uint8 pixels to probabilities."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    # `--help` imports this module for its constants, and must not import NumPy.
    import numpy as np
    from numpy.typing import NDArray

    from model.quality.calibration import Correction

from pipelines.errors import ScenetagsError

# Keras has ImageNet weights for these widths only.
IMAGENET_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
MIN_IMAGE_SIZE = 32
MAX_IMAGE_SIZE = 2048
DROPOUT = 0.2

Trainable = Literal["head", "all but statistics", "everything"]
Precision = Literal["float32", "mixed_float16"]

_BACKBONE = "backbone"
_DROPOUT = "dropout"
_HEAD = "probabilities"
# MobileNetV2's own momentum, 0.999, needs thousands of steps before the moving statistics mean anything.
_MOMENTUM_FROM_SCRATCH = 0.9


class WeightsError(ScenetagsError):
    """Weights that cannot be downloaded, read or loaded; the message is one line for the user."""


def build(
    label_frequencies: NDArray[np.float32],
    *,
    image_size: int,
    alpha: float,
    weights: str | Path | None,
    precision: Precision = "float32",
) -> Any:
    """Build a `keras.Model` from pixels uint8 [N, S, S, 3] to probabilities float32 [N, L].

    Args:
      label_frequencies: share of the training images with each label, float32 [L]; the head's initial output.
      image_size: S, in pixels, at least 32.
      alpha: width of the network; 1.0 is MobileNetV2 as published.
      weights: "imagenet" (downloaded by Keras), a local file of base weights, or None for random ones.
      precision: of the computation; "mixed_float16" computes in float16 and keeps its weights in float32: faster on a
        GPU, slower on a CPU.

    Raises:
      WeightsError: the weights cannot be downloaded or read, or are for a different width.
    """
    import keras

    # Keras applications take their precision from the global policy only.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        backbone = _backbone(image_size, alpha, weights)
        pixels = keras.Input((image_size, image_size, 3), dtype="uint8", name="pixels")
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pixels)
        features = keras.layers.Dropout(DROPOUT, name=_DROPOUT)(backbone(scaled))
        return keras.Model(pixels, _head(label_frequencies)(features), name="scenetags")
    finally:
        keras.config.set_dtype_policy(policy)


def check_weights(weights: str | Path | None, *, image_size: int, alpha: float) -> None:
    """Make sure that initial weights can be had, before hours are spent on decoding images; arguments as in `build`.

    Raises:
      WeightsError: they cannot be downloaded or read, or are for a different width.
    """
    if weights is not None:
        _backbone(image_size, alpha, weights)


def backbone_of(model: Any) -> Any:
    """Return the layers of a network below its head, as one."""
    return model.get_layer(_BACKBONE)


def head_of(model: Any) -> Any:
    """Return the layer that gives the probabilities."""
    return model.get_layer(_HEAD)


def on_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def seed_dropout(model: Any, seed: int, epoch: int) -> None:
    """Make the dropout of an epoch depend only on the seed and the epoch's number."""
    model.get_layer(_DROPOUT).seed_generator.state.assign((seed, epoch))


def calibrate(model: Any, correction: Correction) -> None:
    """Fold a correction of the probabilities into the weights of the head."""
    head = model.get_layer(_HEAD)
    kernel, bias = head.get_weights()
    head.set_weights([kernel / correction.temperature, correction.move(bias)])


def free(model: Any, layers: Trainable) -> None:
    """Make some layers trainable and freeze the others; takes effect when the model is compiled.

    "head" is the head alone. "all but statistics" is the whole network except its BatchNormalization layers, which
    would lose their pretrained statistics on a few images. "everything" is for training from scratch.
    """
    backbone = backbone_of(model)
    backbone.trainable = layers != "head"
    # Layer by layer: `backbone(..., training=False)` does not stop Keras 3 from updating them in `fit`, and a base
    # that is already trainable does not pass `trainable = True` on to its layers.
    for layer in _batch_normalizations(backbone):
        layer.trainable = layers == "everything"
        if layer.trainable:
            layer.momentum = _MOMENTUM_FROM_SCRATCH


def _head(label_frequencies: NDArray[np.float32]) -> Any:
    import keras
    import numpy as np

    # The head starts at the label frequencies, so that no steps are spent on learning which labels are rare.
    odds = np.clip(label_frequencies, 1e-3, 1 - 1e-3)
    bias = keras.initializers.Constant(np.log(odds / (1 - odds)))
    return keras.layers.Dense(len(label_frequencies), "sigmoid", bias_initializer=bias, dtype="float32", name=_HEAD)


def _backbone(image_size: int, alpha: float, weights: str | Path | None) -> Any:
    import h5py

    try:
        return _mobilenet(image_size, alpha, weights)
    except Exception as error:
        if weights is None:
            raise
        # Keras raises a bare Exception if a download fails, and various errors for weights that do not fit.
        cause = textwrap.shorten(str(error), 300, placeholder="…")
        if weights == "imagenet":
            raise WeightsError(
                f"cannot download the ImageNet weights for alpha {alpha} ({cause})",
                "give your own with --weights FILE, or --weights none",
            ) from error
        alphas = IMAGENET_ALPHAS if h5py.is_hdf5(weights) else ()
        fitting = next((other for other in alphas if _fits(weights, image_size, other)), None)
        if fitting is not None:
            raise WeightsError(
                f"{weights}: weights for alpha {fitting}, not {alpha}", f"give --alpha {fitting}"
            ) from error
        raise WeightsError(
            f"{weights}: not MobileNetV2 weights without top for alpha {alpha} ({cause})", "check --alpha and the file"
        ) from error


def _fits(weights: str | Path, image_size: int, alpha: float) -> bool:
    try:
        _mobilenet(image_size, alpha, weights)
    except Exception:
        # Whatever it is, these weights cannot be used with this width.
        return False
    return True


def _mobilenet(image_size: int, alpha: float, weights: str | Path | None) -> Any:
    import keras

    with warnings.catch_warnings():
        # One for each of hundreds of layers that weights do not fit, and one for an unusual image size.
        warnings.simplefilter("ignore")
        return keras.applications.MobileNetV2(
            input_shape=(image_size, image_size, 3),
            alpha=alpha,
            include_top=False,
            pooling="avg",
            weights=None if weights is None else str(weights),
            name=_BACKBONE,
        )


def _batch_normalizations(backbone: Any) -> list[Any]:
    import keras

    return [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
