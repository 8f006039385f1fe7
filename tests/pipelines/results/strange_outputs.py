"""Outputs whose rows say how strange their images are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipelines.images.appearance import MEASURES
from pipelines.inference.reference import Reference
from pipelines.output.run import Run
from pipelines.records import Prediction

_SIZE = len(MEASURES)


def with_reference(run: Run) -> Run:
    """Return the run with a bundle whose training images are all alike, but for their redness."""
    covariances = tuple(map(tuple, np.eye(_SIZE)))
    reference = Reference(100, (0.0,) * _SIZE, covariances, tuple(np.linspace(0, 100, 91)), tail=1.0, spread=0.0)
    return replace(run, bundle=replace(run.bundle, reference=reference))


def strange(prediction: Prediction, redness: float) -> Prediction:
    """Return the prediction of an image of this redness: 0 is that of the training images."""
    return prediction._replace(appearance=np.array([redness, *[0.0] * (_SIZE - 1)]))
