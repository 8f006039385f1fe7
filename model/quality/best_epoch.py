"""Which epoch of a training to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence

from model.quality.history import Epoch

# Standard deviation over images of the difference in F2 between one epoch and the fifth after it; measured on 360 real
# chips in three trainings: 0.04 to 0.13 in the later half of fine-tuning.
_DEVIATION = 0.1


def best_epoch(history: Sequence[Epoch], tolerance: float = 0.0) -> Epoch | None:
    """Find the epoch whose weights to keep; None if all have diverged.

    In each phase it is the last epoch whose F-beta on the held-out images is at most `tolerance` below the phase's
    best. An epoch below the best of the phases before is never kept, so that fine-tuning that does not help cannot end
    below the head it started from.
    """
    kept = None
    reached = -math.inf
    for phase in dict.fromkeys(epoch.phase for epoch in history):
        highest = -math.inf
        for epoch in history:
            if epoch.phase == phase and math.isfinite(epoch.validation_loss):
                highest = max(highest, epoch.validation_fbeta)
                if epoch.validation_fbeta >= max(reached, highest - tolerance):
                    kept = epoch
        reached = max(reached, highest)
    return kept


def standard_error(images: int) -> float:
    """Estimate by how much the F-beta of two epochs differs by chance on this many held-out images.

    The best of twenty epochs is often a lucky early one, while those at a low learning rate do better on other images.
    Scores within one standard error therefore count as equal, as in the rule of Breiman and others, "Classification and
    Regression Trees", 1984.
    """
    return _DEVIATION / math.sqrt(images)
