"""Turn decoded images into predictions, and probabilities into tags."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.images import appearance
from pipelines.inference.engines import Engine
from pipelines.inference.pool import PooledEngine
from pipelines.inference.probabilities import are_probabilities
from pipelines.inference.rules import NO_RULES, Rules
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


def choose_tags(
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    thresholds: Sequence[float],
    rules: Rules = NO_RULES,
) -> list[tuple[str, ...]]:
    """Return the tags of images, a tuple of labels each, in the order of `labels`; arguments as in `choose_labels`."""
    names = np.asarray(labels, object)
    return [tuple(names[row]) for row in choose_labels(probabilities, labels, thresholds, rules)]


def choose_labels(
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    thresholds: Sequence[float],
    rules: Rules = NO_RULES,
) -> NDArray[np.bool_]:
    """Choose the labels whose probability reaches their threshold, as far as the rules admit them.

    Args:
      probabilities: float32[N, L].
      labels: L names.
      thresholds: L numbers, 0 to 1; compared as float32, the precision of the written probabilities, so that a query on
        the `p_` columns finds the same tags.
      rules: for some of the labels.

    Returns:
      bool[N, L]: whether a label is a tag of an image.
    """
    chosen = probabilities >= np.asarray(thresholds, np.float32)
    for group in (*rules.exclusive, rules.alone):
        _keep_most_probable(chosen, probabilities, _columns(group, labels))
    if rules.alone:
        alone = _columns(rules.alone, labels)
        others = np.setdiff1d(np.arange(len(labels)), alone)
        chosen[np.ix_(chosen[:, alone].any(axis=1), others)] = False
    return chosen


def _columns(group: Sequence[str], labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the columns of labels, in the order of all of them: of equal probabilities, the first is kept."""
    return np.array(sorted(labels.index(label) for label in group), np.intp)


def _keep_most_probable(
    chosen: NDArray[np.bool_], probabilities: NDArray[np.float32], columns: NDArray[np.intp]
) -> None:
    """Of the labels in these columns, leave at most one chosen for each image."""
    if not len(columns):
        return
    of_chosen = np.where(chosen[:, columns], probabilities[:, columns], -1)
    [images] = np.nonzero(chosen[:, columns].any(axis=1))
    chosen[:, columns] = False
    chosen[images, columns[of_chosen.argmax(axis=1)[images]]] = True


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
