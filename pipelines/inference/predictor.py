"""Turn decoded images into predictions, so that an image that fails affects no other."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.images import appearance
from pipelines.inference.engines import Engine
from pipelines.inference.pool import PooledEngine
from pipelines.inference.probabilities import are_probabilities
from pipelines.records import Failure, Image, Prediction, failed


class Predictor:
    """Predict images with an engine, so that an image that fails affects no other."""

    def __init__(self, engine: Engine, embeds: bool = False, measures: bool = False) -> None:
        """Wrap an engine, whose failures teach the predictor which batch size to use later.

        Args:
          engine: that computes the probabilities.
          embeds: whether it also embeds images.
          measures: whether to measure what images look like.
        """
        self.engine = engine
        self._embeds = embeds
        self._measures = measures
        self._largest_batch = sys.maxsize

    def predict(self, images: Sequence[Image], at_once: int = 1) -> list[Prediction | Failure]:
        """Predict images in one call of the engine, or in several if that call fails.

        Args:
          images: N of them.
          at_once: images per call, to which fewer are filled up: kernels that take batches compute an image a little
            differently in a batch of another size, and its row must not depend on how many came with it.

        Returns:
          A `Prediction` or a `Failure` of stage `predict` per image, in the order of `images`.
        """
        return list(self._predict(images, at_once))

    def _predict(self, images: Sequence[Image], at_once: int) -> Iterator[Prediction | Failure]:
        waiting = [images] if images else []
        while waiting:
            batch = waiting.pop()
            if len(batch) > self._largest_batch:
                waiting += (batch[self._largest_batch :], batch[: self._largest_batch])
                continue
            pixels = [image.pixels for image in batch]
            size = max(len(batch), min(at_once, self._largest_batch))
            try:
                probabilities, embeddings = self._call(pixels + pixels[-1:] * (size - len(batch)))
            except Exception as error:
                # Engines raise whatever their kernels raise. Halving finds the image at fault in few calls.
                if isinstance(error, MemoryError) and size > 1:
                    # If memory ran out for this batch, it would run out for the next one as well.
                    self._largest_batch = min(self._largest_batch, size - size // 2)
                    waiting.append(batch)
                elif len(batch) == 1:
                    yield _failure(batch[0], type(error).__name__, str(error))
                else:
                    half = len(batch) // 2
                    waiting += (batch[half:], batch[:half])
                continue
            measured = appearance.measure(pixels) if self._measures else [None] * len(batch)
            yield from _results(batch, probabilities[: len(batch)], embeddings[: len(batch)], measured)

    def _call(self, pixels: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float16] | list[None]]:
        if self._embeds and isinstance(self.engine, PooledEngine):
            probabilities, embeddings = self.engine.embed(pixels)
            # Half the memory of the rows that wait to be written, in the precision in which they are.
            return probabilities, embeddings.astype(np.float16)
        return self.engine.predict(pixels), [None] * len(pixels)


def _results(
    images: Sequence[Image],
    probabilities: NDArray[np.float32],
    embeddings: Iterable[NDArray[np.float16] | None],
    measured: Iterable[NDArray[np.float64] | None],
) -> Iterator[Prediction | Failure]:
    sound = are_probabilities(probabilities)
    for image, row, embedding, looks, usable in zip(images, probabilities, embeddings, measured, sound, strict=True):
        if usable:
            seen = image.width, image.height, image.source, image.repairs
            # What rounding put beyond 0 to 1 would be in no bin of a histogram.
            within = row.clip(0, 1)
            yield Prediction(image.ref, *seen, within, image.footprint, embedding, looks)
        else:
            worst = row[np.nan_to_num(np.abs(row - 0.5), nan=np.inf).argmax()]
            yield _failure(image, "NotAProbability", f"the model returned {worst:g}, which is no probability")


def _failure(image: Image, error: str, message: str) -> Failure:
    return failed(image.ref, "predict", error, message)
