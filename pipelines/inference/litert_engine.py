"""Run a bundle's LiteRT file on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.inference.embeddings import expose_embeddings
from pipelines.inference.pool import PooledEngine
from pipelines.supervision.machine import available_cores, native_messages_muted


class LiteRTEngine(PooledEngine):
    """A pool of LiteRT interpreters, one per core."""

    name = "litert"

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
        with native_messages_muted():
            interpreters = [
                Interpreter(model_content=model, num_threads=1) for _ in range(threads or available_cores())
            ]
            for interpreter in interpreters:
                interpreter.allocate_tensors()
        widths = [output["shape"][-1] for output in interpreters[0].get_output_details()]
        super().__init__(list(map(_Interpreter, interpreters)), widths)


class _Interpreter:
    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in interpreter.get_output_details()]

    def run(self, image: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        self._interpreter.set_tensor(self._input, image[np.newaxis])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output) for output in self._outputs]
