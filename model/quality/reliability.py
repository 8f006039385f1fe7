"""Measure how far probabilities can be taken at their word; NumPy alone, so that the base install can evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.quality.metrics import binary_crossentropy
from pipelines.inference.intervals import wilson_interval

# As most papers have it since Guo and others, "On Calibration of Modern Neural Networks", 2017.
BINS = 15


@dataclass(frozen=True)
class Bin:
    """The probabilities in one of `BINS` equal parts of 0 to 1, at least one.

    Attributes:
      lowest: where the part begins; a probability of exactly 1 belongs to the last.
      highest: where it ends.
      count: number of probabilities.
      probability: their mean.
      share: share of them whose image has the label, 0 to 1.
    """

    lowest: float
    highest: float
    count: int
    probability: float
    share: float

    @property
    def range(self) -> tuple[float, float]:
        """Where the share of ever more images would lie, 95 % sure."""
        interval = wilson_interval(self.share * self.count, self.count)
        return interval.low, interval.high


@dataclass(frozen=True)
class Reliability:
    """How well probabilities say how often a label is there; all images and labels together.

    Attributes:
      expected_calibration_error: mean distance of probability and share over the bins, weighted by their counts, 0 to
          1. Chance keeps even perfect probabilities above 0: at 0.013 on 120 images of 17 labels, at 0.007 on 480.
      brier_score: mean squared distance of probability and truth, 0 to 1.
      log_loss: mean binary cross-entropy, in nats.
      bins: those that are not empty, from the lowest up.
    """

    expected_calibration_error: float
    brier_score: float
    log_loss: float
    bins: tuple[Bin, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the measures for JSON; each bin is an object."""
        return {**asdict(self), "bins": [asdict(of) for of in self.bins]}


def measure(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Reliability:
    """Compare probabilities with the truth.

    Args:
      truth: bool [N, L].
      probabilities: float32 [N, L], 0 to 1; a column of NaN for a label that the model does not know is left out.
    """
    known = ~np.isnan(probabilities)
    given, came_true = probabilities[known].astype(np.float64), truth[known]
    bins = tuple(_fill(given, came_true))
    return Reliability(
        expected_calibration_error=sum(of.count * abs(of.probability - of.share) for of in bins) / len(given),
        brier_score=float(np.mean((given - came_true) ** 2)),
        log_loss=binary_crossentropy(truth[known], probabilities[known]),
        bins=bins,
    )


def report(reliability: Reliability) -> Iterator[str]:
    """Lay out the measures, one per line, then the points of the reliability diagram as a table."""
    for name, value in (
        ("expected calibration error", reliability.expected_calibration_error),
        ("Brier score", reliability.brier_score),
        ("log loss", reliability.log_loss),
    ):
        yield f"{name:26}  {value:.4f}"
    yield ""
    yield "probability    predictions  on average  have the label"
    for of in reliability.bins:
        yield (f"{of.lowest:.2f} to {of.highest:.2f}   {of.count:11,}  {of.probability:10.3f}  {of.share:14.3f}")


def _fill(given: NDArray[np.float64], came_true: NDArray[np.bool_]) -> Iterator[Bin]:
    place = np.minimum((given * BINS).astype(np.int64), BINS - 1)
    counts, sums, hits = (np.bincount(place, weights, BINS) for weights in (None, given, came_true))
    for at in np.flatnonzero(counts):
        yield Bin(
            lowest=at / BINS,
            highest=(at + 1) / BINS,
            count=int(counts[at]),
            probability=float(sums[at] / counts[at]),
            share=float(hits[at] / counts[at]),
        )
