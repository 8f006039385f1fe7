"""Train a network through its phases and keep its best weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import dataset, network

HEAD_LEARNING_RATE = 3e-3
FINETUNE_LEARNING_RATE = 5e-5
SCRATCH_LEARNING_RATE = 3e-3


class DivergedError(RuntimeError):
    """Training without any epoch of finite validation loss; the message is one line for the user."""


class Phase(NamedTuple):
    """Some epochs with the same layers free to learn, at a learning rate that falls to 0 along a cosine."""

    name: str
    epochs: int
    learning_rate: float
    layers: network.Trainable


def plan(*, from_scratch: bool, head_epochs: int, finetune_epochs: int) -> list[Phase]:
    """Plan the phases: head, then everything gently; or everything at once where nothing is learnt yet."""
    if from_scratch:
        phases = [Phase("from scratch", finetune_epochs, SCRATCH_LEARNING_RATE, "everything")]
    else:
        phases = [
            Phase("head", head_epochs, HEAD_LEARNING_RATE, "head"),
            Phase("fine-tuning", finetune_epochs, FINETUNE_LEARNING_RATE, "all but statistics"),
        ]
    return [phase for phase in phases if phase.epochs]


def fit(
    model: Any,
    phases: Sequence[Phase],
    training: dataset.Examples,
    validation: dataset.Examples,
    *,
    batch_size: int,
    seed: int,
) -> float:
    """Train the model, leave it with its best weights, and return their loss on the validation examples.

    Raises:
      DivergedError: no epoch had a finite validation loss.
    """
    import keras
    import tensorflow as tf

    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    held_out = dataset.batches(validation, batch_size)
    best = BestWeights(model)
    for number, phase in enumerate(phases):
        network.free(model, phase.layers)
        batches = dataset.batches(training, batch_size, augment_seed=seed + number)
        steps = phase.epochs * len(batches)
        rate = keras.optimizers.schedules.CosineDecay(phase.learning_rate, steps)
        optimizer = keras.optimizers.Adam(rate)
        # Built here, its hundreds of variables do not make TensorFlow trace the training step twice.
        optimizer.build(model.trainable_variables)
        # XLA runs this network several times slower on a CPU.
        model.compile(optimizer, "binary_crossentropy", jit_compile="auto" if on_gpu else False)
        print(f"training, {phase.name}: {phase.epochs} epochs", flush=True)
        model.fit(
            batches,
            validation_data=held_out,
            epochs=phase.epochs,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=best.see)],
            shuffle=False,  # the batches come shuffled
            verbose=1 if sys.stdout.isatty() else 2,
        )
    return best.restore()


class BestWeights:
    """Keeps the weights of the epoch with the lowest validation loss, over all phases.

    One keeper for all of them: fine-tuning that helps nothing cannot end below the head it started from.
    """

    def __init__(self, model: Any) -> None:
        """Start with no epoch seen."""
        self._model = model
        self._loss = float("inf")
        self._weights: list[NDArray[np.float32]] | None = None

    def see(self, epoch: int, logs: dict[str, float]) -> None:
        """Keep this epoch's weights if they are the best yet."""
        if logs["val_loss"] < self._loss:
            self._loss = logs["val_loss"]
            self._weights = self._model.get_weights()

    def restore(self) -> float:
        """Give the model its best weights back and return their validation loss.

        Raises:
          DivergedError: no epoch had a finite validation loss.
        """
        if self._weights is None:
            raise DivergedError("training diverged: no epoch had a finite validation loss")
        self._model.set_weights(self._weights)
        return self._loss
