"""Train a network in phases, keep its best weights, and resume where an earlier attempt was interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data import Augment, dataset
from model.quality import metrics, thresholds
from model.quality.best_epoch import best_epoch, standard_error
from model.quality.fbeta import BETA, key, title
from model.quality.history import HEAD, Epoch
from model.training import losses, network, tensorboard
from model.training.losses import Loss
from model.training.optimizer import averaged, compile_for, take_averages
from model.training.phases import Phase, has_ended
from model.training.workspace import Workspace
from pipelines.errors import ExitCode, ScenetagsError, quantity

# By how much the first epoch of the whole network may take longer than one of the head alone; measured: 1.5 to 3.
_SLOWER_THAN_HEAD = 3


class DivergedError(ScenetagsError):
    """Training in which no epoch had a finite loss; the message is one line for the user."""

    exit_code = ExitCode.STOPPED


class OutOfMemoryError(ScenetagsError):
    """A GPU with too little memory; the message is one line for the user."""


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
      judged: bool [L], the labels of which it is known which held-out images have them; None for all.
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
    judged: NDArray[np.bool_] | None = None
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

    def learn_all(self, phase: Phase, score: Callable[[NDArray[np.float32]], float]) -> bool:
        """Continue from the best weights with all images, the held-out ones too; return whether that succeeded.

        Without a held-out image an epoch cannot be chosen, so it is all epochs or none: the weights are those of the
        last, or the best ones as before if there is no time for all, or if afterwards the network knew the images that
        had been held out no better than before: by the loss, and by a score at the thresholds that go with it.

        Args:
          phase: on all images.
          score: returns how good probabilities of the held-out images are, float32 [M, L]; the higher, the better.
        """
        before, scored = self._judge_held_out(score)
        begun = any(epoch.phase == phase.name for epoch in self.history)
        if not begun and self.is_out_of_time(phase, phase.epochs):
            return False
        if has_ended(phase, self.history):
            self._compile(phase)
            self.workspace.restore(self.model, self.history[-1])
            take_averages(self.model)
        else:
            self._run_within_memory(phase)
        loss, now = self._judge_held_out(score)
        if loss < before and now >= scored:
            return True
        best = self._best()
        assert best is not None, "`run` would have raised"
        self.workspace.restore_best(self.model, best)
        return False

    def is_out_of_time(self, phase: Phase, epochs: int = 1) -> bool:
        """Return whether more epochs of a phase would not end in time; the very first always would."""
        if not self.history:
            return False
        last = self.history[-1]
        slower = _SLOWER_THAN_HEAD if last.phase == HEAD != phase.layers else 1
        return time.monotonic() + epochs * slower * last.seconds > self.ends_at

    def _examples(self, phase: Phase) -> dataset.Examples:
        learnt, held_out = self.training, self.validation
        if not phase.on_all:
            return learnt
        rows = np.concatenate([learnt.rows, held_out.rows])
        return dataset.Examples(learnt.pixels, rows, np.concatenate([learnt.targets, held_out.targets]))

    def _judge_held_out(self, score: Callable[[NDArray[np.float32]], float]) -> tuple[float, float]:
        """Return loss and score of the network on the held-out images."""
        probabilities = predict(self.model, self.validation, self.batch_size)
        return self._loss_of_held_out(probabilities), score(probabilities)

    def _loss_of_held_out(self, probabilities: NDArray[np.float32]) -> float:
        loss = losses.of(self.loss, self._judged(self.training.targets))
        return float(np.mean(loss(self._judged(self.validation.targets), self._judged(probabilities))))

    def _judged(self, of_labels: NDArray[np.float32]) -> NDArray[np.float32]:
        return of_labels if self.judged is None else of_labels[:, self.judged]

    def _run_within_memory(self, phase: Phase) -> None:
        import tensorflow as tf

        try:
            self._run(phase)
        except tf.errors.OpError as error:
            if of_system := tensorboard.error_of_system(error, self.workspace.tensorboard):
                raise of_system from error
            if not isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            # With another batch size it is another training, which may not find anything of this one to resume.
            self.workspace.start_over()
            smaller = f"--batch_size {self.batch_size // 2}" if self.batch_size > 1 else "a smaller --image_size"
            side = self.model.input_shape[1]
            raise OutOfMemoryError(
                f"{phase.name}: batches of {quantity(self.batch_size, 'image')} of {side} px do not fit into the "
                "memory of the GPU",
                f"run the same command with {smaller}",
            ) from error

    def _run(self, phase: Phase) -> None:
        import keras
        from tqdm import tqdm

        examples = self._examples(phase)
        images = len(examples.rows)
        done = sum(epoch.phase == phase.name for epoch in self.history)
        first, end = len(self.history), len(self.history) + phase.epochs - done
        self._compile(phase)
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
                with averaged(self.model):
                    self.history.append(self._measure(phase, logs, seconds))
                    averages = self.model.get_weights()
                self._commit(logs, averages)
                left = (time.monotonic() - started) / (epoch + 1 - first) * (end - epoch - 1)
                bar.write(self._describe(phase, left))
                is_late = not phase.on_all and self.is_out_of_time(phase)
                self.model.stop_training = is_late or has_ended(phase, self.history)

            self.model.fit(
                dataset.training_batches(
                    examples, self.batch_size, seed=self.seed, epochs=range(first, end), augment=self.augment
                ),
                steps_per_epoch=math.ceil(images / self.batch_size),
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

    def _compile(self, phase: Phase) -> None:
        steps = phase.epochs * math.ceil(len(self._examples(phase).rows) / self.batch_size)
        compile_for(phase, self.model, losses.of(self.loss, self.training.targets), steps)

    def _measure(self, phase: Phase, logs: dict[str, float], seconds: float) -> Epoch:
        rate = float(self.model.optimizer.learning_rate)
        learnt = Epoch(
            phase.name, len(self.history) + 1, rate, float(logs["loss"]), math.nan, math.nan, math.nan, seconds
        )
        if phase.on_all:
            return learnt
        every = predict(self.model, self.validation, self.batch_size)
        truth = self._judged(self.validation.targets) > 0.5
        probabilities = self._judged(every)
        flat = probabilities >= thresholds.best_flat(truth, probabilities, self.beta)
        return learnt._replace(
            validation_loss=self._loss_of_held_out(every),
            validation_fbeta=metrics.fbeta_over_samples(truth, flat, self.beta),
            validation_map=math.nan
            if (found := metrics.mean_average_precision(truth, probabilities)) is None
            else found,
        )

    def _commit(self, logs: dict[str, float], averages: list[NDArray[Any]]) -> None:
        last = self.history[-1]
        if math.isfinite(last.validation_loss):
            # TensorBoard's callback runs next and writes what it finds here.
            logs |= {
                "val_loss": last.validation_loss,
                key("val_fbeta", self.beta): last.validation_fbeta,
                "val_map": last.validation_map,
            }
        self.workspace.commit(self.model, self.history, self._best(), averages)

    def _describe(self, phase: Phase, seconds_left: float) -> str:
        from tqdm import tqdm

        last = self.history[-1]
        number = sum(epoch.phase == phase.name for epoch in self.history)
        kept = " (kept)" if last == self._best() else ""
        held_out = (
            f"held out: loss {last.validation_loss:.4f}, {title(self.beta)} {last.validation_fbeta:.4f}{kept}, "
            f"mAP {'-' if math.isnan(last.validation_map) else f'{last.validation_map:.4f}'}; "
        )
        left = f", at most {tqdm.format_interval(seconds_left)} left in this phase" * (number < phase.epochs)
        return (
            f"{phase.name} {number}/{phase.epochs}: loss {last.loss:.4f}; {'' if phase.on_all else held_out}"
            f"{last.seconds:.0f} s{left}"
        )


def predict(model: Any, examples: dataset.Examples, batch_size: int) -> NDArray[np.float32]:
    """Return the probabilities of examples, float32 [N, L], read as in training."""
    probabilities: NDArray[np.float32] = model.predict(dataset.batches(examples, batch_size), verbose=0)
    return probabilities
