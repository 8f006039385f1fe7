"""Run a LiteRT file with OpenVINO, in float32 or, on processors that have units for it, in bfloat16."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.inference.bfloat16 import round_graph
from pipelines.inference.bundle import BundleError
from pipelines.inference.embeddings import expose_embeddings
from pipelines.inference.openvino_runtime import import_openvino, load_core
from pipelines.inference.pool import PooledEngine
from pipelines.inference.processor import bfloat16_units, describe_without_units
from pipelines.supervision.machine import available_cores
from pipelines.supervision.temporary import working_folder

_DESCRIPTION = 4_000_000
"""Bytes that the description of a graph takes at most, without its weights."""


class OpenVINOEngine(PooledEngine):
    """A pool of compiled models, one per core.

    Requests of a single compiled model would have their layers computed by threads of OpenVINO's while their callers
    wait: two switches per image, and with decoders at work, a tenth of the cores' time lost. Compiled apart, each
    computes in the thread that calls it. Each takes 0.05 s of core time and 13 to 20 MB, as much as a LiteRT
    interpreter.

    They take one image at a time: in batches of 8, the layers of a MobileNetV2 at 224 px no longer fit in a core's
    cache, which took 27 % longer in float32, and 6 % in bfloat16 (AMD EPYC with 1 MB per core).
    """

    name = "openvino"
    exact: NDArray[np.float32] | None = None
    """float32[N, L], in float32 for the samples of an engine in bfloat16."""

    def __init__(
        self,
        model: bytes,
        threads: int | None = None,
        embeds: bool = False,
        samples: NDArray[np.uint8] | None = None,
    ) -> None:
        """Compile the model, in bfloat16 if there are samples.

        Args:
          model: the LiteRT file's bytes.
          threads: number of compiled models; by default one per available core.
          embeds: whether `embed` will be called.
          samples: uint8[N, S, S, 3], images with which `rounding` finds out what bfloat16 would change.

        Raises:
          BundleError: the processor has no units for bfloat16.
          ValueError: the model has nothing to embed images with.
        """
        core = load_core()
        if samples is not None and not bfloat16_units():
            raise BundleError(
                f"this processor has no units for bfloat16 ({describe_without_units()})",
                "use --precision float32, or a machine that has them, e.g. of Google's c3 or c4 series",
            )
        calls = threads or available_cores()
        # OpenVINO reads from files only. In bfloat16 it also writes the graph, whose weights may take twice the room.
        with working_folder(len(model) * (1 if samples is None else 3) + _DESCRIPTION) as folder:
            graph = _read(core, expose_embeddings(model) if embeds else model, folder)
            if samples is not None:
                graph, self.exact = round_graph(import_openvino(), core, graph, samples, folder)
            compiled = _compile(core, graph, "f32" if samples is None else "bf16", calls)
        widths = [output.shape[-1] for output in compiled[0].outputs]
        super().__init__([_Request(model.create_infer_request()) for model in compiled], widths)


class _Request:
    def __init__(self, request: Any) -> None:
        self._request = request
        self._input = request.get_input_tensor().data
        self._outputs = [tensor.data for tensor in request.output_tensors]

    def run(self, image: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        self._input[0] = image
        self._request.infer()
        return self._outputs


def _read(core: Any, model: bytes, folder: str) -> Any:
    """Read a LiteRT file, for one image at a time."""
    path = os.path.join(folder, "model.tflite")
    with open(path, "wb") as file:
        file.write(model)
    graph = core.read_model(path)
    _, *sizes = graph.input(0).partial_shape
    graph.reshape([1, *(size.get_length() for size in sizes)])
    return graph


def _compile(core: Any, graph: Any, precision: str, copies: int) -> list[Any]:
    """Compile a graph several times, on all cores, for one thread each."""
    how = {
        # Its own default is bfloat16 wherever there are units for it.
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 1,
        # Each of several processes on a machine would pin its threads to the same cores, and decoding runs at the same
        # time.
        "ENABLE_CPU_PINNING": False,
    }
    # Nothing says that a graph may be compiled by several threads at once. Clones share its weights.
    graphs = [graph.clone() for _ in range(copies)]
    with ThreadPoolExecutor(min(copies, available_cores())) as executor:
        return list(executor.map(lambda clone: core.compile_model(clone, "CPU", how), graphs))
