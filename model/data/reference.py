"""Measure what the images of a training look like, for prediction to compare its own with."""

from __future__ import annotations

import numpy as np

from model.data.dataset import Examples
from pipelines.images import appearance
from pipelines.inference.reference import Reference, gather_reference

_AT_ONCE = 64
"""Images read from the disk at a time."""


def gather(*examples: Examples) -> Reference | None:
    """Return what images look like; None if they are too few or too small to tell."""
    if examples[0].pixels.shape[1] < appearance.SMALLEST:
        return None
    measured = [
        appearance.measure(part.pixels[part.rows[at : at + _AT_ONCE]])
        for part in examples
        for at in range(0, len(part.rows), _AT_ONCE)
    ]
    return gather_reference(np.concatenate(measured))
