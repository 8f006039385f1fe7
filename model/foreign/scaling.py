"""The ways in which the pixels of an image are scaled for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    # `--help` imports this module for its names, and must not import NumPy.
    import numpy as np
    from numpy.typing import NDArray

Scaling = Literal["unit", "symmetric", "imagenet", "none"]

_MEANS = (0.485, 0.456, 0.406)
_DEVIATIONS = (0.229, 0.224, 0.225)


class Affine(NamedTuple):
    """A value of a pixel, 0 to 255, times `factors` plus `offsets`: one of each for red, green and blue."""

    factors: tuple[float, ...]
    offsets: tuple[float, ...]


def affine(scaling: Scaling) -> Affine:
    """Return what a scaling does to a pixel."""
    if scaling == "imagenet":
        factors = tuple(1 / (255 * deviation) for deviation in _DEVIATIONS)
        offsets = tuple(-mean / deviation for mean, deviation in zip(_MEANS, _DEVIATIONS, strict=True))
        return Affine(factors, offsets)
    factor, offset = {"unit": (1 / 255, 0.0), "symmetric": (1 / 127.5, -1.0), "none": (1.0, 0.0)}[scaling]
    return Affine((factor,) * 3, (offset,) * 3)


def scale(images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
    """Scale images uint8 [N, S, S, 3] as those who made the model did, in NumPy and not in its graph."""
    import numpy as np

    values = images.astype(np.float32)
    if scaling == "unit":
        return values / np.float32(255)
    if scaling == "symmetric":
        return values / np.float32(127.5) - np.float32(1)
    if scaling == "imagenet":
        scaled: NDArray[np.float32] = (values / np.float32(255) - np.float32(_MEANS)) / np.float32(_DEVIATIONS)
        return scaled
    return values


def in_graph(pixels: Any, scaling: Scaling) -> Any:
    """Scale pixels, a TensorFlow tensor of integers [N, S, S, 3], to float32."""
    import tensorflow as tf

    values = tf.cast(pixels, tf.float32)
    if scaling == "none":
        return values
    factors, offsets = affine(scaling)
    return values * tf.constant(factors, tf.float32) + tf.constant(offsets, tf.float32)
