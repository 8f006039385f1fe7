"""Run a bundle's model on pixels, with LiteRT, OpenVINO or TensorFlow behind one interface.

Each engine imports its library when it is opened: a CPU worker does not need TensorFlow, and `--help` needs none of
them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ExitCode, ScenetagsError, quantity
from pipelines.inference import ENGINES
from pipelines.inference.bundle import LITERT_MODEL, SAVED_MODEL, Bundle, BundleError, Golden
from pipelines.inference.gpu import tensorflow_has_gpu
from pipelines.inference.litert_engine import LiteRTEngine
from pipelines.inference.openvino_engine import OpenVINOEngine
from pipelines.inference.operations import check_litert, check_saved_model
from pipelines.inference.tensorflow_engine import TensorFlowEngine
from pipelines.supervision.temporary import working_folder

GOLDEN_TOLERANCE = 1e-3
"""The most by which an engine's probabilities may differ from the golden ones: 50 times the largest difference observed
between float32 kernels of different processors, a tenth of that caused by damaged weights or a different input scaling.

An int8 file gave the same integers with the kernels for VNNI, AVX-512, AVX2 and SSE4.1. With kernels that round
differently, its probabilities move by up to 0.1, and its thresholds and metrics no longer apply."""

BFLOAT16_TOLERANCE = 0.05
"""The most by which an engine's probabilities in bfloat16 may differ from the golden ones on average: 3 times the
largest average observed. Swapped colours differ by no more than bfloat16 does, so this finds broken kernels only; that
the graph was read correctly is verified in float32, within `GOLDEN_TOLERANCE`."""
_LIMITED = (
    *("Resource temporarily unavailable", "Cannot allocate memory", "bad_alloc", "new thread", "XNNPACK runtime"),
    *("out of memory", "OOM when"),
)
"""By which the libraries' messages show that the system or a GPU refuses memory or a thread."""
_FREE_GPU = "free the GPU's memory, or lower --processes or --batch_size"
_RAISE_LIMITS = "raise the limits on memory and processes (ulimit -v and -u, or the container's), or lower --threads"
_PACKAGES = {"litert": "scenetags", "openvino": "'scenetags[openvino]'", "tensorflow": "'scenetags[train]'"}
_MODULES = {"litert": "ai_edge_litert", "openvino": "openvino", "tensorflow": "tensorflow"}
INSTALL_OPENVINO = f"run pip install {_PACKAGES['openvino']}"


class EngineStartError(ScenetagsError):
    """The system refuses what an engine needs."""

    exit_code = ExitCode.STOPPED


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


def open_engine(
    bundle: Bundle,
    engine: str = "auto",
    threads: int | None = None,
    embeds: bool = False,
    precision: str = "float32",
) -> Engine:
    """Load a bundle's model and verify that it computes what it did when it was exported.

    Args:
      bundle: a verified bundle.
      engine: one of `ENGINES`; for `auto`, see `choose_engine`.
      threads: cores that the engine may use; by default all.
      embeds: whether it also embeds images.
      precision: one of `PRECISIONS`; bfloat16 is for OpenVINO only.

    Raises:
      BundleError: a file is damaged, the model may do more than compute, the engine's library is not installed, cannot
        be imported or refuses the model, the processor has no units for the precision, or the probabilities of the
        golden inputs differ by more than the tolerance.
      EngineStartError: there is too little memory, or too few threads are allowed.
      TemporaryFolderError: there is no room for its files.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine}")
    name = choose_engine(bundle, engine, embeds, precision)
    check_engine(bundle, name, embeds, precision)
    golden = bundle.golden()
    try:
        opened = _open(bundle, name, threads, embeds, precision)
        if isinstance(opened, OpenVINOEngine) and opened.exact is not None:
            _check_golden(bundle, name, golden, opened.exact, "float32")
        _check_golden(bundle, name, golden, opened.predict(golden.pixels), precision)
    except ImportError as error:
        raise _lacks_library(name, error) from error
    except ScenetagsError:
        raise
    except Exception as error:
        # The libraries raise whatever they come across in a file.
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, MemoryError) or any(sign in reason for sign in _LIMITED):
            remedy = _FREE_GPU if name == "tensorflow" and tensorflow_has_gpu() else _RAISE_LIMITS
            raise EngineStartError(f"engine {name} cannot be opened: {reason}", remedy) from error
        # LiteRT says no more if memory ends at a limit.
        remedy = f"if memory is limited, {_RAISE_LIMITS}" * (reason == type(error).__name__)
        raise BundleError(f"engine {name} cannot run bundle {bundle.path}: {reason}", remedy) from error
    return opened


def _lacks_library(name: str, error: ImportError) -> BundleError:
    """Return the error of an engine whose library is not installed, or is broken."""
    module = _MODULES[name]
    if not _is_installed(module):
        return BundleError(f"engine {name} is not installed ({error})", f"run pip install {_PACKAGES[name]}")
    return BundleError(
        f"engine {name} cannot be imported ({' '.join(str(error).split())})",
        f"install what it lacks, or run pip install --force-reinstall {module.replace('_', '-')}",
    )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        # It is in `sys.modules`, but as nothing.
        return False


def _open(bundle: Bundle, name: str, threads: int | None, embeds: bool, precision: str) -> Engine:
    if name == "tensorflow":
        return _open_tensorflow(bundle, threads)
    model = bundle.read(LITERT_MODEL)
    check_litert(model, f"bundle {bundle.path}: {LITERT_MODEL}")
    if name == "openvino":
        return OpenVINOEngine(model, threads, embeds, bundle.golden().pixels if precision == "bfloat16" else None)
    return LiteRTEngine(model, threads, embeds)


def _check_golden(
    bundle: Bundle, name: str, golden: Golden, probabilities: NDArray[np.float32], precision: str
) -> None:
    """Verify that an engine has reproduced the golden probabilities.

    Raises:
      BundleError: it does not.
    """
    if probabilities.shape != golden.probabilities.shape:
        raise BundleError(
            f"engine {name} returns {quantity(probabilities.shape[-1], 'probability', 'probabilities')} per image, "
            f"but bundle {bundle.path} has {quantity(len(bundle.labels), 'label')}"
        )
    differences = np.abs(probabilities - golden.probabilities)
    exact = precision == "float32"
    difference = float(differences.max() if exact else differences.mean())
    tolerance = GOLDEN_TOLERANCE if exact else BFLOAT16_TOLERANCE
    # Written this way to refuse NaN as well.
    if not difference <= tolerance:
        raise BundleError(
            f"engine {name} does not reproduce the golden probabilities of bundle {bundle.path}"
            + ("" if exact else f" in {precision}")
            + f": they differ by {difference:.2g}{'' if exact else ' on average'}, more than {tolerance}",
            "use --precision float32" + " --engine litert" * exact if not exact or name == "openvino" else "",
        )


def check_engine(bundle: Bundle, engine: str, embeds: bool = False, precision: str = "float32") -> None:
    """Verify that a bundle has what an engine needs, without opening the engine.

    Raises:
      BundleError: it does not.
    """
    if engine == "tensorflow" and embeds:
        raise BundleError("engine tensorflow computes no embeddings", "use --engine litert for --embeddings")
    if engine == "tensorflow" and not bundle.has_saved_model:
        raise BundleError(
            f"bundle {bundle.path} has no {SAVED_MODEL}, "
            + ("like every int8 bundle" if bundle.is_int8 else "like every bundle imported from a LiteRT file"),
            "use --engine litert" + ", or train with --quantize none" * bundle.is_int8,
        )
    if precision != "float32" and engine not in ("auto", "openvino"):
        raise BundleError(f"engine {engine} does not compute in {precision}", "use --engine openvino")
    if precision != "float32" and bundle.is_int8:
        raise BundleError(f"bundle {bundle.path} computes in int8, not in {precision}", "omit --precision")


def _open_tensorflow(bundle: Bundle, threads: int | None) -> Engine:
    with working_folder() as folder:
        bundle.extract(SAVED_MODEL, folder)
        model = os.path.join(folder, SAVED_MODEL)
        check_saved_model(model, f"bundle {bundle.path}: {SAVED_MODEL}")
        return TensorFlowEngine(model, threads)


def choose_engine(bundle: Bundle, engine: str, embeds: bool = False, precision: str = "float32") -> str:
    """Return the engine to open; for `auto`, TensorFlow if it has a GPU and can run the bundle, and LiteRT otherwise.

    In float32 OpenVINO is 0.96 to 1.18 times as fast as LiteRT, depending on the processor: too little to make a run's
    engine depend on what is installed.
    """
    if engine != "auto":
        return engine
    if precision == "bfloat16":
        return "openvino"
    return "tensorflow" if not embeds and bundle.has_saved_model and tensorflow_has_gpu() else "litert"
