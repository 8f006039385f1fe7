"""The ways in which the pixels of an image are scaled for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    # `--help` imports this module for its names, and must not import NumPy.
    import numpy as np
    from numpy.typing import NDArray

Scaling = Literal["unit", "symmetric", "imagenet", "none"]


class Step(NamedTuple):
    """An operation on pixels, with a number for all channels or one for each of red, green and blue."""

    operation: Literal["divide", "subtract"]
    values: tuple[float, ...]


# As they are written in training code: with factors in the place of divisors, the last bit would differ, and models
# that round their input to integers answer differently then.
STEPS: dict[Scaling, tuple[Step, ...]] = {
    "unit": (Step("divide", (255.0,)),),
    "symmetric": (Step("divide", (127.5,)), Step("subtract", (1.0,))),
    "imagenet": (
        Step("divide", (255.0,)),
        Step("subtract", (0.485, 0.456, 0.406)),
        Step("divide", (0.229, 0.224, 0.225)),
    ),
    "none": (),
}

# What multiplies by less takes values of up to 255 to about 1.
_SMALL_FACTOR = 0.1


def scales_down(factor: float) -> bool:
    """Return whether a model that multiplies its input by this takes pixels of 0 to 255."""
    return abs(factor) < _SMALL_FACTOR


def scale(images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
    """Scale images uint8 [N, S, S, 3] as those who made the model did, in NumPy and not in its graph."""
    import numpy as np

    values = images.astype(np.float32)
    for step in STEPS[scaling]:
        if step.operation == "divide":
            values /= np.array(step.values, np.float32)
        else:
            values -= np.array(step.values, np.float32)
    return values


def in_graph(pixels: Any, scaling: Scaling) -> Any:
    """Scale pixels, a TensorFlow tensor of integers [N, S, S, 3], to float32."""
    import tensorflow as tf

    values = tf.cast(pixels, tf.float32)
    for step in STEPS[scaling]:
        constants = tf.constant(step.values, tf.float32)
        values = values / constants if step.operation == "divide" else values - constants
    return values
