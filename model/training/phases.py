"""The phases of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from model.quality.best_epoch import best_epoch
from model.quality.history import HEAD, Epoch
from model.training import network

ON_ALL = "all images"
HEAD_LEARNING_RATE = 3e-3
FINETUNE_LEARNING_RATE = 4e-4
SCRATCH_LEARNING_RATE = 3e-3
# Lower than in the phase before, because the network has only the held-out images left to learn.
_ON_ALL_SLOWER = 0.5
# Epochs without a better score after which a phase ends. Long, because the score fluctuates while the learning rate is
# high, and rises once more when it falls: a shorter patience would lose that last gain.
PATIENCE = 12


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
            Phase(HEAD, head_epochs, HEAD_LEARNING_RATE, HEAD),
            Phase("fine-tuning", finetune_epochs, FINETUNE_LEARNING_RATE, "all but statistics"),
        ]
    return [phase for phase in phases if phase.epochs]


def final(epochs: int, after: str) -> Phase:
    """Plan the phase on all images that may follow those of `plan`.

    Args:
      epochs: all of them are run.
      after: name of the phase whose weights were kept. After the head, only the head is trained: training the rest of
        the network did not help, or was not wanted.
    """
    if after == HEAD:
        return Phase(ON_ALL, epochs, HEAD_LEARNING_RATE * _ON_ALL_SLOWER, HEAD, on_all=True)
    return Phase(ON_ALL, epochs, FINETUNE_LEARNING_RATE * _ON_ALL_SLOWER, "all but statistics", on_all=True)


def has_ended(phase: Phase, history: Sequence[Epoch]) -> bool:
    """Return whether a phase has ended: all its epochs done, no improvement for a while, or diverged."""
    done = [epoch for epoch in history if epoch.phase == phase.name]
    best = best_epoch(done)
    if done and not math.isfinite(done[-1].loss):
        return True
    since_best = done[-1].epoch - best.epoch if best else 0
    return len(done) >= phase.epochs or since_best >= PATIENCE
