"""Run a bundle's model on pixels, with LiteRT or TensorFlow behind one interface.

Each engine imports its library when it is opened: a CPU worker does not need TensorFlow, and `--help` needs neither.
"""

from __future__ import annotations

import importlib.util
import os
import queue
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.inference import ENGINES
from pipelines.inference.bundle import LITERT_MODEL, SAVED_MODEL, Bundle, BundleError
from pipelines.inference.embeddings import expose_embeddings
from pipelines.supervision.machine import available_cores, native_messages_muted
from pipelines.supervision.temporary import temporary_folder

GOLDEN_TOLERANCE = 1e-3
"""The most by which an engine's probabilities may differ from the golden ones: 50 times the largest difference observed
between float32 kernels of different processors, a tenth of that caused by damaged weights or a different input scaling.

An int8 file gave the same integers with the kernels for VNNI, AVX-512, AVX2 and SSE4.1. With kernels that round
differently, its probabilities move by up to 0.1, and its thresholds and metrics no longer apply."""


_DEVICES = Path("/dev")
_GPUS = ("nvidia[0-9]*", "nvhost-gpu", "dxg", "kfd")
"""Files of GPUs: of CUDA, of which a container may have any number, on small boards, in WSL 2; and of ROCm."""


class Engine(Protocol):
    """A loaded model.

    Attributes:
      name: one of `ENGINES`.
      calls: number of concurrent calls of `predict` that pay off.
      takes_batches: whether one call with many images is faster than a call per image.
      on_gpu: whether it runs on a GPU.
    """

    name: str
    calls: int
    takes_batches: bool
    on_gpu: bool

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the probabilities of a batch.

        Args:
          pixels: N images, each uint8[S, S, 3], sRGB, 0 to 255, as a list or as one array.

        Returns:
          float32[N, L], 0 to 1.

        Raises:
          MemoryError: the batch does not fit in memory.
        """
        ...


class LiteRTEngine:
    """A pool of single-threaded LiteRT interpreters, one per core, for as many concurrent callers.

    The threads of one interpreter would wait for one another at every layer, so decoding that occupies one core for a
    moment would stall them all; single-threaded interpreters do not wait. An image's probabilities are identical to the
    bit whatever the call and the number of interpreters.
    """

    name = "litert"
    takes_batches = False
    on_gpu = False

    def __init__(self, model: bytes, threads: int | None = None, embeds: bool = False) -> None:
        """Build the interpreters.

        Args:
          model: the LiteRT file's bytes.
          threads: number of concurrent interpreters; by default one per available core.
          embeds: whether `embed` will be called.

        Raises:
          ValueError: the model has nothing to embed images with.
        """
        from ai_edge_litert.interpreter import Interpreter

        model = expose_embeddings(model) if embeds else model

        self.calls = threads or available_cores()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with native_messages_muted():
            for _ in range(self.calls):
                interpreter = Interpreter(model_content=model, num_threads=1)
                interpreter.allocate_tensors()
                self._idle.put(interpreter)
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = interpreter.get_output_details()

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the probabilities of images one by one; see `Engine.predict`."""
        return self._run(pixels)[0]

    def embed(self, pixels: Collection[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute probabilities as `predict` does, and with them the features under the head: float32[N, F]."""
        probabilities, features = self._run(pixels)
        return probabilities, features

    def _run(self, pixels: Collection[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        results = [np.empty((len(pixels), output["shape"][-1]), np.float32) for output in self._outputs]
        interpreter = self._idle.get()
        try:
            for row, image in enumerate(pixels):
                interpreter.set_tensor(self._input, image[np.newaxis])
                interpreter.invoke()
                for result, output in zip(results, self._outputs, strict=True):
                    result[row] = interpreter.get_tensor(output["index"])[0]
        finally:
            self._idle.put(interpreter)
        return results


class TensorFlowEngine:
    """The `serve` signature of a SavedModel, on a GPU if TensorFlow finds one.

    In full float32: in TF32, TensorFlow's default on an H100, probabilities differ by 0.01 from those of other machines
    and miss the golden ones, and a MobileNetV2 is no faster.
    """

    name = "tensorflow"
    takes_batches = True

    def __init__(self, folder: str, threads: int | None = None) -> None:
        """Load a SavedModel.

        Args:
          folder: on this machine; may be deleted afterwards.
          threads: cores per operation; by default all. The first engine of a process decides.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with native_messages_muted():
            import tensorflow as tf

            if threads and tf.config.threading.get_intra_op_parallelism_threads() != threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
            tf.config.experimental.enable_tensor_float_32_execution(False)
            self.on_gpu = bool(tf.config.list_physical_devices("GPU"))
            # On a GPU, one batch is copied there while another is computed. On a CPU, one keeps all cores busy.
            self.calls = 2 if self.on_gpu else 1
            # The model owns the variables that its signature uses; without this reference, both would be collected.
            self._model = tf.saved_model.load(folder)
        self._tensorflow = tf
        self._serve = self._model.signatures["serve"]

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the probabilities of a batch; see `Engine.predict`."""
        try:
            [probabilities] = self._serve(self._tensorflow.constant(np.asarray(pixels))).values()
            array: NDArray[np.float32] = probabilities.numpy()
        except self._tensorflow.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message) from error
        return array


def open_engine(bundle: Bundle, engine: str = "auto", threads: int | None = None, embeds: bool = False) -> Engine:
    """Load a bundle's model and verify that it computes what it did when it was exported.

    Args:
      bundle: a verified bundle.
      engine: one of `ENGINES`; `auto` is TensorFlow if it has a GPU and the bundle has a SavedModel, and LiteRT
        otherwise.
      threads: cores that the engine may use; by default all.
      embeds: whether it also embeds images; then `auto` is LiteRT.

    Raises:
      BundleError: a file is damaged, the engine's library is not installed or refuses the model, or the probabilities
        of the golden inputs differ by more than `GOLDEN_TOLERANCE`.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine}")
    name = _default_engine(bundle) if engine == "auto" and not embeds else engine.replace("auto", "litert")
    golden = bundle.golden()
    try:
        if name == "tensorflow":
            opened = _open_tensorflow(bundle, threads)
        else:
            opened = LiteRTEngine(bundle.read(LITERT_MODEL), threads, embeds)
        probabilities = opened.predict(golden.pixels)
    except ImportError as error:
        raise BundleError(f"engine {name} is not installed ({error})", "run pip install 'scenetags[train]'") from error
    except BundleError:
        raise
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"engine {name} cannot run bundle {bundle.path}: {reason}") from error
    if probabilities.shape != golden.probabilities.shape:
        raise BundleError(
            f"engine {name} returns {probabilities.shape[1]} probabilities per image, but bundle {bundle.path} has "
            f"{len(bundle.labels)} labels"
        )
    difference = float(np.max(np.abs(probabilities - golden.probabilities)))
    # Written this way to refuse NaN as well.
    if not difference <= GOLDEN_TOLERANCE:
        raise BundleError(
            f"engine {name} does not reproduce the golden probabilities of bundle {bundle.path}: they differ by "
            f"{difference:.2g}, more than {GOLDEN_TOLERANCE}"
        )
    return opened


def check_engine(bundle: Bundle, engine: str, embeds: bool = False) -> None:
    """Verify that a bundle has the files an engine needs, without opening the engine.

    Raises:
      BundleError: it does not.
    """
    if engine == "tensorflow" and embeds:
        raise BundleError("engine tensorflow embeds no images", "use --engine litert for --embeddings")
    if engine == "tensorflow" and not _has_saved_model(bundle):
        raise BundleError(
            f"bundle {bundle.path} has no {SAVED_MODEL}, like every int8 bundle",
            "use --engine litert, or train with --quantize none",
        )


def _open_tensorflow(bundle: Bundle, threads: int | None) -> Engine:
    check_engine(bundle, "tensorflow")
    with temporary_folder() as folder:
        bundle.extract(SAVED_MODEL, folder)
        return TensorFlowEngine(os.path.join(folder, SAVED_MODEL), threads)


def _default_engine(bundle: Bundle) -> str:
    return "tensorflow" if _has_saved_model(bundle) and _tensorflow_has_gpu() else "litert"


def _tensorflow_has_gpu() -> bool:
    """Return whether TensorFlow can use a GPU: only it can say, but its import takes seconds, so look for one first."""
    found = any(path for pattern in _GPUS for path in _DEVICES.glob(pattern))
    if not found or importlib.util.find_spec("tensorflow") is None:
        return False
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_messages_muted():
        try:
            import tensorflow as tf
        except ImportError:
            return False
        return bool(tf.config.list_physical_devices("GPU"))


def _has_saved_model(bundle: Bundle) -> bool:
    return any(name.startswith(SAVED_MODEL) for name in bundle.files)
