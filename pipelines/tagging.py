"""From decoded images to predictions, and from probabilities to tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.engines import Engine
from pipelines.records import Failure, Image, Prediction


def predict_images(images: Sequence[Image], engine: Engine) -> Iterator[Prediction | Failure]:
    """Predict images, so that one at which the engine fails costs no other.

    Yields:
      A `Prediction` for each image, or a `Failure` of the stage `predict`, in the order of `images`.
    """
    try:
        probabilities = engine.predict(np.stack([image.pixels for image in images]))
    except Exception as error:
        # Engines raise whatever their kernels do. Halving finds the guilty image in few calls, and is the remedy
        # for memory that does not suffice.
        if len(images) == 1:
            yield _failure(images[0], type(error).__name__, str(error))
            return
        middle = len(images) // 2
        yield from predict_images(images[:middle], engine)
        yield from predict_images(images[middle:], engine)
        return
    for image, row in zip(images, probabilities, strict=True):
        if np.isfinite(row).all():
            yield Prediction(image.ref, image.width, image.height, image.source, image.repairs, row)
        else:
            yield _failure(image, "NotFinite", "the model gave a probability that is not a number")


def choose_tags(
    probabilities: NDArray[np.float32], labels: Sequence[str], thresholds: Sequence[float]
) -> list[tuple[str, ...]]:
    """Choose the labels whose probability reaches their threshold.

    Args:
      probabilities: float32[N, L].
      labels: L names.
      thresholds: L numbers, 0 to 1. They are compared as float32, the precision of the written probabilities, so that
        a query on the `p_` columns finds the same tags.

    Returns:
      A tuple of labels for each image, in the order of `labels`.
    """
    chosen = probabilities >= np.asarray(thresholds, np.float32)
    names = np.asarray(labels, object)
    return [tuple(names[row]) for row in chosen]


def _failure(image: Image, error: str, message: str) -> Failure:
    return Failure(image.ref.path, "predict", error, message, image.ref.fingerprint)
