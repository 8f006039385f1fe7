"""Outputs whose rows say how strange their images are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipelines import storage
from pipelines.images.appearance import MEASURES
from pipelines.inference.reference import Reference
from pipelines.inference.shift import Seen
from pipelines.output.manifest import describe
from pipelines.output.run import Accounts, Run
from pipelines.records import Prediction
from tests.pipelines.results.tagged_outputs import image, write

_SIZE = len(MEASURES)


def with_reference(run: Run) -> Run:
    """Return the run with a bundle whose training images are all alike, but for their redness."""
    covariances = tuple(map(tuple, np.eye(_SIZE)))
    reference = Reference(100, (0.0,) * _SIZE, covariances, tuple(np.linspace(0, 100, 91)), tail=1.0, spread=0.0)
    return replace(run, bundle=replace(run.bundle, reference=reference))


def strange(prediction: Prediction, redness: float) -> Prediction:
    """Return the prediction of an image of this redness: 0 is that of the training images."""
    return prediction._replace(appearance=np.array([redness, *[0.0] * (_SIZE - 1)]))


def write_strange(run: Run, images: Mapping[str, Sequence[float]], redness: Sequence[float]) -> None:
    """Commit images with these probabilities and this redness, and write the manifest of the run."""
    of_images = zip(images.items(), redness, strict=True)
    predictions = [strange(image(path, probabilities), red) for (path, probabilities), red in of_images]
    write(run, predictions)
    count = len(predictions)
    seen = Seen(count, (float(sum(redness)), *[0.0] * (_SIZE - 1)))
    storage.write(run.manifest, describe(run, Accounts(inputs=count, predictions=count, seen=seen), "done"))
