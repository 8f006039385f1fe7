"""The phases of a training, and which of their epochs to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from model.quality.history import Epoch
from model.training import network

ON_ALL = "all images"
HEAD_LEARNING_RATE = 3e-3
FINETUNE_LEARNING_RATE = 4e-4
SCRATCH_LEARNING_RATE = 3e-3
# Lower, because the network has only the held-out images left to learn.
ALL_LEARNING_RATE = 2e-4
# Epochs without a better score after which a phase ends. Long, because the score fluctuates while the learning rate is
# high, and rises once more when it falls: a shorter patience would lose that last gain.
PATIENCE = 12
# Standard deviation over images of the difference in F2 between one epoch and the fifth after it; measured on 360 real
# chips in three trainings: 0.04 to 0.13 in the later half of fine-tuning.
DEVIATION = 0.1


class Phase(NamedTuple):
    """Epochs with the same trainable layers; the learning rate warms up, then falls to 0 along a cosine.

    Attributes:
      name: in messages and in the history.
      epochs: the maximum.
      learning_rate: the highest.
      layers: those that are trained.
      on_all: whether the held-out images are trained on, too, so that none is left to measure.
    """

    name: str
    epochs: int
    learning_rate: float
    layers: network.Trainable
    on_all: bool = False

    @property
    def is_averaged(self) -> bool:
        """Whether the outcome is the average of weights; not if statistics are learnt, which would not fit them."""
        return self.layers == "all but statistics"


def plan(*, from_scratch: bool, head_epochs: int, finetune_epochs: int) -> list[Phase]:
    """Plan the phases: the head, then fine-tuning; or everything at once from scratch."""
    if from_scratch:
        phases = [Phase("from scratch", finetune_epochs, SCRATCH_LEARNING_RATE, "everything")]
    else:
        phases = [
            Phase("head", head_epochs, HEAD_LEARNING_RATE, "head"),
            Phase("fine-tuning", finetune_epochs, FINETUNE_LEARNING_RATE, "all but statistics"),
        ]
    return [phase for phase in phases if phase.epochs]


def final(epochs: int) -> Phase:
    """Plan the phase on all images that may follow those of `plan`."""
    return Phase(ON_ALL, epochs, ALL_LEARNING_RATE, "all but statistics", on_all=True)


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
    return DEVIATION / math.sqrt(images)


def has_ended(phase: Phase, history: Sequence[Epoch]) -> bool:
    """Return whether a phase has ended: all its epochs done, no improvement for a while, or diverged."""
    done = [epoch for epoch in history if epoch.phase == phase.name]
    best = best_epoch(done)
    if done and not math.isfinite(done[-1].loss):
        return True
    since_best = done[-1].epoch - best.epoch if best else 0
    return len(done) >= phase.epochs or since_best >= PATIENCE
