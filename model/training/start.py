"""Start from the network of a bundle: labels that it knows keep their part of the head, others get a new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.training import network
from model.training.settings import Settings
from pipelines.errors import quantity
from pipelines.inference.bundle import SAVED_MODEL, Bundle
from pipelines.labels import Finding, some_names

# By more than this, the probabilities of another network differ.
_TOLERANCE = 0.01
_VARIABLES = f"{SAVED_MODEL}variables/"


class Start(NamedTuple):
    """The network of a bundle.

    Attributes:
      labels: of its L outputs.
      backbone: its weights, in the order of Keras.
      kernel: of its head, float32 [F, L].
      bias: of its head, float32 [L].
    """

    labels: tuple[str, ...]
    backbone: list[NDArray[np.float32]]
    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def put_into(self, model: Any, labels: Sequence[str]) -> None:
        """Set the weights of a new network for these labels; what it has for unknown labels stays as it is."""
        known = [label for label in labels if label in self.labels]
        here, there = [labels.index(label) for label in known], [self.labels.index(label) for label in known]
        kernel, bias = network.head_of(model).get_weights()
        kernel[:, here], bias[here] = self.kernel[:, there], self.bias[there]
        network.backbone_of(model).set_weights(self.backbone)
        network.head_of(model).set_weights([kernel, bias])

    def describe(self, labels: Sequence[str]) -> Iterator[str]:
        """Report which labels are new, and which of the bundle's are gone."""
        new, gone = sorted(set(labels) - set(self.labels)), sorted(set(self.labels) - set(labels))
        named = f"; new: {some_names(new)}" if new else ""
        yield f"{len(labels) - len(new)} of {quantity(len(labels), 'label')} start from the bundle{named}"
        if gone:
            yield str(Finding("labels of the bundle that no image has, dropped", tuple(gone)))


def read_weights(settings: Settings) -> Start | None:
    """Make sure, before images are decoded, that the initial weights can be used; return those of a bundle.

    Raises:
      WeightsError: they cannot.
      BundleError: a file of the bundle is missing or damaged.
    """
    if isinstance(settings.weights, Bundle):
        return read(settings.weights, settings.alpha)
    network.check_weights(settings.weights, image_size=settings.image_size, alpha=settings.alpha)
    return None


def read(bundle: Bundle, alpha: float) -> Start:
    """Read the weights of a bundle from its SavedModel, and make sure that they give its golden probabilities.

    Raises:
      WeightsError: it has none, or they are those of another network.
      BundleError: a file is missing or damaged.
    """
    if not any(name.startswith(_VARIABLES) for name in bundle.files):
        raise network.WeightsError(
            f"{bundle.path}: has no weights to start from, because it is in int8",
            "name a bundle that was exported with --quantize none",
        )
    frequencies = np.full(len(bundle.labels), 0.5, np.float32)
    model = network.build(frequencies, image_size=bundle.image_size, alpha=alpha, weights=None)
    golden = bundle.golden()
    try:
        model.set_weights(_read_variables(bundle, len(model.weights)))
        fits = np.abs(np.asarray(model(golden.pixels, training=False)) - golden.probabilities).max() <= _TOLERANCE
    except ValueError:
        fits = False
    if not fits:
        raise network.WeightsError(
            f"{bundle.path}: its weights are not those of a MobileNetV2 of alpha {alpha:g} that train builds",
            "start from another bundle",
        )
    return Start(bundle.labels, network.backbone_of(model).get_weights(), *network.head_of(model).get_weights())


def _read_variables(bundle: Bundle, count: int) -> list[NDArray[np.float32]]:
    """Read the first variables of the SavedModel: the weights of the network, in the order of Keras.

    Raises:
      ValueError: there are fewer.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        bundle.extract(_VARIABLES, folder)
        reader = tf.train.load_checkpoint(os.path.join(folder, _VARIABLES, "variables"))
        shapes = reader.get_variable_to_shape_map()
        names = [f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE" for number in range(count + 1)]
        arrays = [reader.get_tensor(name) for name in names if name in shapes]
    # The state of dropout's random numbers is among them.
    weights = [array for array in arrays if array.dtype == np.float32]
    if len(weights) != count:
        raise ValueError(f"{quantity(len(weights), 'weight')} instead of {count}")
    return weights
