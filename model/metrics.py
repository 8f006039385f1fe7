"""Measure multi-label predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def f2_over_samples(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Average over images the F2 score of each image's tags, in [0, 1]: recall weighs four times precision.

    Both arrays are bool [N, L]. An image with no tag, predicted to have none, scores 1.
    """
    hits = (truth & predicted).sum(axis=1)
    weight = 4 * truth.sum(axis=1) + predicted.sum(axis=1)
    scores = np.divide(5.0 * hits, weight, out=np.ones(len(truth)), where=weight > 0)
    return float(scores.mean())
