"""A pool of copies of a model, each of which takes one image at a time on one core."""

from __future__ import annotations

import queue
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Copy(Protocol):
    """A copy of a model, which one thread uses at a time."""

    def run(self, image: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        """Return the model's outputs for an image, each float32[1, F]; they are overwritten by the next call.

        Args:
          image: uint8[S, S, 3].
        """
        ...


class PooledEngine:
    """An engine of copies of a model, one per core, for as many concurrent callers.

    The threads of a single copy would wait for one another at every layer, so decoding that occupies one core for a
    moment would stall them all; copies with one thread each do not wait. An image's probabilities are identical to the
    bit whatever the call and the number of copies.
    """

    takes_batches = False
    on_gpu = False

    def __init__(self, copies: Sequence[Copy], widths: Sequence[int]) -> None:
        """Gather the copies.

        Args:
          copies: of the same model.
          widths: numbers of values per image in each of the model's outputs: labels, and features if it embeds.
        """
        self.calls = len(copies)
        self._widths = widths
        self._idle: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for copy in copies:
            self._idle.put(copy)

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the probabilities of images one by one; see `Engine.predict`."""
        return self._run(pixels)[0]

    def embed(self, pixels: Collection[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute probabilities as `predict` does, and with them the features under the head: float32[N, F]."""
        probabilities, features = self._run(pixels)
        return probabilities, features

    def _run(self, pixels: Collection[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        results = [np.empty((len(pixels), width), np.float32) for width in self._widths]
        copy = self._idle.get()
        try:
            for row, image in enumerate(pixels):
                for result, output in zip(results, copy.run(image), strict=True):
                    result[row] = output[0]
        finally:
            self._idle.put(copy)
        return results
