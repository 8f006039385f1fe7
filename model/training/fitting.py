"""Train a network in phases, keep its best weights, and resume where an earlier attempt was interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data import Augment, dataset
from model.quality import metrics, thresholds
from model.quality.fbeta import BETA, key, title
from model.quality.history import Epoch
from model.training import losses, network
from model.training.losses import Loss
from model.training.workspace import Workspace
from pipelines.errors import ExitCode, ScenetagsError

HEAD_LEARNING_RATE = 3e-3
FINETUNE_LEARNING_RATE = 4e-4
SCRATCH_LEARNING_RATE = 3e-3
# Share of a phase in which the learning rate rises to its peak: the first steps would otherwise undo earlier learning.
WARM_UP = 0.1
# Epochs without a better score after which a phase ends. Long, because the score fluctuates while the learning rate is
# high, and rises once more when it falls: a shorter patience would lose that last gain.
PATIENCE = 12
# Standard deviation over images of the difference in F2 between one epoch and the fifth after it; measured on 360 real
# chips in three trainings: 0.04 to 0.13 in the later half of fine-tuning.
DEVIATION = 0.1
# By how much the first epoch of the whole network may take longer than one of the head alone; measured: 1.5 to 3.
_SLOWER_THAN_HEAD = 3


class DivergedError(ScenetagsError):
    """Training in which no epoch had a finite loss; the message is one line for the user."""

    exit_code = ExitCode.STOPPED


class OutOfMemoryError(ScenetagsError):
    """A GPU with too little memory; the message is one line for the user."""


class Phase(NamedTuple):
    """Epochs with the same trainable layers; the learning rate warms up, then falls to 0 along a cosine."""

    name: str
    epochs: int
    learning_rate: float
    layers: network.Trainable


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


@dataclass(frozen=True)
class Training:
    """The training of one model: its data, and the epochs done so far.

    Attributes:
      model: `keras.Model` from pixels uint8 [B, S, S, 3] to probabilities float32 [B, L].
      training: the examples to learn from.
      validation: the held-out examples that score each epoch.
      batch_size: examples per step.
      seed: of order, orientations and dropout.
      workspace: where each epoch is committed.
      history: the epochs done so far, in this attempt or an interrupted one; grows.
      augment: how training images vary.
      loss: what is minimized.
      beta: of the F-beta that scores each epoch.
      ends_at: time of the monotonic clock, in seconds, at which the last epoch should have ended.
    """

    model: Any
    training: dataset.Examples
    validation: dataset.Examples
    batch_size: int
    seed: int
    workspace: Workspace
    history: list[Epoch]
    augment: Augment = "orientations"
    loss: Loss = "bce"
    beta: float = BETA
    ends_at: float = math.inf

    def run(self, phases: Sequence[Phase]) -> Epoch:
        """Run what is left of the phases, set the model to its best weights, and return their epoch.

        Raises:
          DivergedError: no epoch had a finite loss.
          OutOfMemoryError: the GPU's memory is too small; the decoded images are left for another batch size.
        """
        best = self._best()
        for phase in phases:
            if not (has_ended(phase, self.history) or self.is_out_of_time(phase)):
                self._run_within_memory(phase)
            best = self._best()
            if best is None:
                break
            # The next phase, or the export, starts from the best weights so far.
            self.workspace.restore_best(self.model, best)
        if best is None:
            raise DivergedError(
                "training diverged: no epoch had a finite loss on the held-out images",
                "train with a larger --batch_size or different --weights",
            )
        return best

    def is_out_of_time(self, phase: Phase) -> bool:
        """Return whether another epoch of a phase would not end in time; the very first always would."""
        if not self.history:
            return False
        last = self.history[-1]
        seconds = last.seconds * (1 if last.phase == phase.name else _SLOWER_THAN_HEAD)
        return time.monotonic() + seconds > self.ends_at

    def _run_within_memory(self, phase: Phase) -> None:
        import tensorflow as tf

        try:
            self._run(phase)
        except tf.errors.ResourceExhaustedError as error:
            # With another batch size it is another training, which may not find anything of this one to resume.
            self.workspace.start_over()
            smaller = f"--batch_size {self.batch_size // 2}" if self.batch_size > 1 else "a smaller --image_size"
            side = self.model.input_shape[1]
            raise OutOfMemoryError(
                f"{phase.name}: batches of {self.batch_size} images of {side} px do not fit into the memory of the GPU",
                f"run the same command with {smaller}",
            ) from error

    def _run(self, phase: Phase) -> None:
        import keras
        from tqdm import tqdm

        images = len(self.training.rows)
        steps = math.ceil(images / self.batch_size)
        done = sum(epoch.phase == phase.name for epoch in self.history)
        first, end = len(self.history), len(self.history) + phase.epochs - done
        self._compile(phase, steps)
        if done:
            self.workspace.restore(self.model, self.history[-1])
        with tqdm(total=images * (end - first), unit="image", desc=phase.name, disable=None, leave=False) as bar:
            started = time.monotonic()

            def begin(epoch: int, logs: Any) -> None:
                network.seed_dropout(self.model, self.seed, epoch)

            def step(batch: int, logs: Any) -> None:
                bar.update(min(self.batch_size, images - batch * self.batch_size))

            def finish(epoch: int, logs: dict[str, float]) -> None:
                seconds = time.monotonic() - started - sum(past.seconds for past in self.history[first:])
                self.history.append(self._measure(phase, logs, seconds))
                self._commit(logs)
                left = (time.monotonic() - started) / (epoch + 1 - first) * (end - epoch - 1)
                bar.write(self._describe(phase, left))
                self.model.stop_training = has_ended(phase, self.history) or self.is_out_of_time(phase)

            self.model.fit(
                dataset.training_batches(
                    self.training, self.batch_size, seed=self.seed, epochs=range(first, end), augment=self.augment
                ),
                steps_per_epoch=steps,
                initial_epoch=first,
                epochs=end,
                shuffle=False,  # the batches are already shuffled
                verbose=0,
                callbacks=[
                    keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_train_batch_end=step, on_epoch_end=finish),
                    keras.callbacks.TensorBoard(self.workspace.tensorboard, write_graph=False),
                ],
            )

    def _best(self) -> Epoch | None:
        return best_epoch(self.history, standard_error(len(self.validation.rows)))

    def _compile(self, phase: Phase, steps: int) -> None:
        import keras

        network.free(self.model, phase.layers)
        warm_up = round(WARM_UP * phase.epochs * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, phase.epochs * steps - warm_up, warmup_target=phase.learning_rate, warmup_steps=warm_up
        )
        # XLA runs this network several times slower on a CPU.
        jit_compile = "auto" if network.on_gpu() else False
        loss = losses.of(self.loss, self.training.targets)
        self.model.compile(keras.optimizers.Adam(rate), loss, jit_compile=jit_compile)
        # Built here: its hundreds of variables would otherwise make TensorFlow trace the training step twice.
        self.model.optimizer.build(self.model.trainable_variables)

    def _measure(self, phase: Phase, logs: dict[str, float], seconds: float) -> Epoch:
        truth = self.validation.targets > 0.5
        probabilities = predict(self.model, self.validation, self.batch_size)
        flat = probabilities >= thresholds.best_flat(truth, probabilities, self.beta)
        loss = losses.of(self.loss, self.training.targets)(self.validation.targets, probabilities)
        return Epoch(
            phase=phase.name,
            epoch=len(self.history) + 1,
            learning_rate=float(self.model.optimizer.learning_rate),
            loss=float(logs["loss"]),
            validation_loss=float(np.mean(loss)),
            validation_fbeta=metrics.fbeta_over_samples(truth, flat, self.beta),
            validation_map=metrics.mean_average_precision(truth, probabilities) or 0.0,
            seconds=seconds,
        )

    def _commit(self, logs: dict[str, float]) -> None:
        last = self.history[-1]
        # TensorBoard's callback runs next and writes what it finds here.
        logs |= {
            "val_loss": last.validation_loss,
            key("val_fbeta", self.beta): last.validation_fbeta,
            "val_map": last.validation_map,
        }
        self.workspace.commit(self.model, self.history, self._best())

    def _describe(self, phase: Phase, seconds_left: float) -> str:
        from tqdm import tqdm

        last = self.history[-1]
        number = sum(epoch.phase == phase.name for epoch in self.history)
        kept = " (kept)" if last == self._best() else ""
        return (
            f"{phase.name} {number}/{phase.epochs}: loss {last.loss:.4f}; held out: loss {last.validation_loss:.4f}, "
            f"{title(self.beta)} {last.validation_fbeta:.4f}{kept}, mAP {last.validation_map:.4f}; "
            f"{last.seconds:.0f} s, at most {tqdm.format_interval(seconds_left)} left in this phase"
        )


def predict(model: Any, examples: dataset.Examples, batch_size: int) -> NDArray[np.float32]:
    """Return the probabilities of examples, float32 [N, L], read as in training."""
    probabilities: NDArray[np.float32] = model.predict(dataset.batches(examples, batch_size), verbose=0)
    return probabilities
