"""Open what Keras saved as `.keras` or `.h5`; nothing in the file is run."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from model.export.bundle import check_precision
from model.foreign import keras_2
from model.foreign.graph import write_graph
from model.foreign.original import Activation, ForeignError, Wanted, find_image_size, find_output
from model.foreign.scaling import Scaling, scale, scales_down
from pipelines.errors import quantity

_LONGEST_CONFIG = 100_000_000
_BATCH = 32

# Layers that run code from the file, or read other files.
_REFUSED = {
    "Lambda", "TFOpLambda", "SlicingOpLambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer",
    "StringLookup", "IntegerLookup", "TextVectorization", "__lambda__",
}  # fmt: skip
_OWN = ("keras", "tf_keras", "builtins")
_NARROW = ("float16", "bfloat16")
# Layers and operations that move, select, repeat or frame pixels, and those that act in training alone: the range of
# the pixels stays. So it does in pooling, but what that leaves may be meant as features.
_KEEP_RANGE = frozenset((
    "InputLayer", "Identity", "Cast", "Copy", "ActivityRegularization",
    "Permute", "Transpose", "Swapaxes", "Moveaxis", "Flip", "Roll", "Rot90",
    "Reshape", "Flatten", "Ravel", "Squeeze", "ExpandDims", "GetItem",
    "Cropping2D", "CenterCrop", "ZeroPadding2D", "Pad", "Resizing", "UpSampling2D",
    "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "AugMix", "CutMix", "MixUp", "RandAugment", "Solarization",
))  # fmt: skip
_REMEDY = "build the model from Keras' own layers, save it again, and import that"


class KerasFile:
    """A model saved by Keras."""

    package = "keras"
    is_int8 = False
    input_range: tuple[float, float] | None = None

    def __init__(self, path: Path, wanted: Wanted) -> None:
        """Load a model.

        Raises:
          ForeignError: it cannot be loaded without running code from the file, or is no model of RGB images.
        """
        self.format = "HDF5 file of Keras" if h5py.is_hdf5(path) else "Keras file"
        config = _read_config(path)
        _refuse_code(path.name, config)
        self._model = _in_float32(_load(path, config))
        inputs, outputs = self._model.inputs, self._model.outputs
        if len(inputs) != 1:
            raise ForeignError(
                f"{path.name}: it has {quantity(len(inputs), 'input')}", "only models of one image are imported"
            )
        if inputs[0].shape[0] is not None:
            raise ForeignError(
                f"{path.name}: its input is a batch of exactly {quantity(inputs[0].shape[0], 'image')}",
                "save it with a free batch size",
            )
        self.image_size = find_image_size(path.name, inputs[0].shape, wanted)
        self._output = find_output(path.name, [output.shape for output in outputs], wanted)
        self._takes_uint8 = inputs[0].dtype == "uint8"
        self.scales_itself = _find_scaling(_operations(self._model)) or (
            "its input is uint8" if self._takes_uint8 else None
        )
        self.activation = _activation(_source(outputs[self._output]))

    def answer(self, images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
        """Run it with Keras; see `Original.answer`."""
        answers = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            answers.append(np.asarray(self._compute(batch if self._takes_uint8 else scale(batch, scaling))))
        return np.concatenate(answers).reshape(len(images), -1).astype(np.float32)

    def write(self, folder: Path, scaling: Scaling, *, sigmoid: bool) -> None:
        """Write the model files; see `Original.write`."""
        variables = [variable.value for variable in self._model.variables]
        write_graph(
            folder,
            self.image_size,
            self._compute,
            variables,
            scaling=scaling,
            takes_uint8=self._takes_uint8,
            sigmoid=sigmoid,
        )

    def _compute(self, batch: Any) -> Any:
        import keras

        return keras.tree.flatten(self._model(batch, training=False))[self._output]


def _read_config(path: Path) -> Any:
    """Read how the model is built, without building it."""
    try:
        if not h5py.is_hdf5(path):
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _LONGEST_CONFIG:
                    raise ForeignError(f"{path.name}: its configuration is too long")
                return json.loads(archive.read("config.json"))
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["model_config"])
    except (OSError, ValueError, KeyError, RecursionError, zipfile.BadZipFile) as error:
        raise ForeignError(
            f"{path.name}: it holds no whole model, perhaps only weights",
            "save the model with model.save(), or copy the file again",
        ) from error


def _refuse_code(name: str, config: Any) -> None:
    """Refuse a configuration that names anything but Keras' own classes.

    Raises:
      ForeignError: it does.
    """
    for part in keras_2.parts(config):
        kind, module = part.get("class_name"), part.get("module")
        if kind is None:
            continue
        is_function = kind == "function" and not str(module).startswith(("keras.activations", "keras.src.activations"))
        if kind in _REFUSED or is_function:
            shown = part.get("config") if is_function else kind
            raise ForeignError(f"{name}: it has a {shown} layer or function, which runs code from the file", _REMEDY)
        registered = str(part.get("registered_name") or "")
        if (registered if module is None else str(module).split(".")[0] not in _OWN) or ">" in registered:
            raise ForeignError(f"{name}: {kind} is not one of Keras' own classes", _REMEDY)


def _load(path: Path, config: Any) -> Any:
    import keras

    try:
        with _as_keras_3(path, config) as readable:
            model = keras.saving.load_model(readable, compile=False, safe_mode=True)
    except Exception as error:
        # Keras raises errors of any type for files that are damaged or of other versions.
        reason = " ".join(str(error).split())[:300]
        raise ForeignError(
            f"{path.name}: Keras {keras.__version__} cannot load it ({reason})",
            "export it as a SavedModel where it was made, and import that",
        ) from error
    if not getattr(model, "inputs", None):
        raise ForeignError(f"{path.name}: it is not a Sequential or functional model", _REMEDY)
    return model


@contextmanager
def _as_keras_3(path: Path, config: Any) -> Iterator[Path]:
    """Give a file that Keras 3 can read: of HDF5, a copy without what Keras 2 wrote differently."""
    if not h5py.is_hdf5(path):
        yield path
        return

    keras_2.mend(config)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.h5")  # the ending by which Keras knows it
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
        yield copy


def _operations(model: Any) -> Iterator[Any]:
    """Yield the layers of a model and the operations between them in order, those of nested models in their places."""
    # A Sequential model has layers alone.
    for operation in getattr(model, "operations", model.layers):
        if hasattr(operation, "layers"):
            yield from _operations(operation)
        else:
            yield operation


def _in_float32(model: Any) -> Any:
    """Return a model that computes in float32, as bundles do: the same, or one trained in mixed precision built anew.

    Raises:
      ExportError: a layer computes in another precision still.
    """
    import keras

    config = keras.saving.serialize_keras_object(model)
    narrow = [policy for policy in keras_2.parts(config) if policy.get("name") in ("mixed_float16", "mixed_bfloat16")]
    # Inputs are narrowed as well, even if the first layer is not.
    inputs = [part for part in keras_2.parts(config) if "batch_shape" in part and part["dtype"] in _NARROW]
    for policy in narrow:
        policy["name"] = "float32"
    for source in inputs:
        source["dtype"] = "float32"
    if narrow or inputs:
        weights = model.get_weights()
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        model.set_weights(weights)
    check_precision(model)
    return model


def _find_scaling(operations: Iterable[Any]) -> str | None:
    """Return what shows that a model scales pixels itself: layers for that, before all that compute anything else.

    What comes later says nothing: pooled features may be scaled, too. A border that was added before is scaled with the
    pixels, as in training.
    """
    factor, last = 1.0, None
    for operation in operations:
        kind = type(operation).__name__
        if kind == "Rescaling":
            factor, last = factor * float(np.max(np.abs(operation.scale))), operation
        elif kind not in _KEEP_RANGE and not kind.startswith("Random"):
            break
    return f"its layer {last.name} scales them" if last is not None and scales_down(factor) else None


def _source(output: Any) -> Any:
    """Return the layer that computes an output of a model, within the nested model that it comes from, if any."""
    import keras

    while True:
        layer, _, number = output._keras_history
        if not hasattr(layer, "layers"):
            return layer
        output = keras.tree.flatten(layer.outputs)[number]


def _activation(layer: Any) -> Activation | None:
    name = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__.lower())
    return name if name in ("sigmoid", "softmax") else None  # type: ignore[return-value]
