"""The folder next to a bundle in which its training keeps what it needs to resume after an interruption.

    BUNDLE.training/settings.json       what is being trained; different settings are refused
                    lock                held while training runs
                    images/             the decoded images
                    checkpoint/         weights and optimizer after the last epoch, and the best weights
                    history.csv         one line per epoch; an epoch counts as done once it is there
                    tensorboard/        the same for TensorBoard
                    left_out.csv        the images on neither side of the split, if there are any

The last three stay when the bundle has been written. Nothing stays of a training that failed before there was anything
to resume.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data import dataset
from model.quality import history
from model.quality.fbeta import BETA
from model.quality.history import Epoch
from pipelines import storage
from pipelines.errors import ScenetagsError

SETTINGS = "settings.json"
IMAGES = "images"
_CHECKPOINT = "checkpoint"
OF_UNFINISHED = (IMAGES, _CHECKPOINT)
_LEFT_OUT = "left_out.csv"
_OF_EPOCHS = ("history.csv", "tensorboard")
OF_FINISHED = (*_OF_EPOCHS, _LEFT_OUT)


class WorkspaceError(ScenetagsError):
    """A folder that this training cannot use; the message is one line for the user."""


@dataclass(frozen=True)
class Workspace:
    """The folder of one training; see the module docstring.

    Attributes:
      folder: of the training.
      beta: of the F-beta in its history.
    """

    folder: Path
    beta: float = BETA

    @property
    def images(self) -> Path:
        """The folder of the decoded images."""
        return self.folder / IMAGES

    @property
    def history_file(self) -> Path:
        """The history as a CSV file."""
        return self.folder / "history.csv"

    @property
    def tensorboard(self) -> Path:
        """The folder of the TensorBoard logs."""
        return self.folder / "tensorboard"

    def read_history(self) -> tuple[Epoch, ...]:
        """Read the epochs done so far; none in a new training.

        Raises:
          HistoryError: the file is damaged.
        """
        return history.read_csv(self.history_file, self.beta) if self.history_file.exists() else ()

    def commit(self, model: Any, done: Sequence[Epoch], best: Epoch | None, averages: Sequence[NDArray[Any]]) -> None:
        """Save a model after an epoch, so that training killed at any moment can resume after its last saved epoch.

        Args:
          model: a compiled `keras.Model`; its optimizer's state is saved with its weights.
          done: all epochs so far; the last one is saved.
          best: the best of them, or None if all have diverged; its weights are kept as well.
          averages: the weights that the last epoch was measured with, in the model's order.

        Raises:
          OSError: the files cannot be written, e.g. because the disk is full.
        """
        self._checkpoint.mkdir(exist_ok=True)
        keep = {self._weights(done[-1])}
        # Not in Keras' own format: HDF5 crashes the process if the disk is full.
        _save(self._weights(done[-1]), [*model.get_weights(), *(state.numpy() for state in model.optimizer.variables)])
        if best:
            keep.add(self._best_weights(best))
            if best == done[-1]:
                _save(self._best_weights(best), averages)
        # From here on only the new files count, and the others can go.
        history.write_csv(done, self.history_file, self.beta)
        for file in self._checkpoint.iterdir():
            if file not in keep:
                file.unlink()

    def restore(self, model: Any, last: Epoch) -> None:
        """Load the weights and the optimizer's state of the last epoch into a model that is compiled as it was then.

        Raises:
          WorkspaceError: they are missing, damaged or of another network.
        """
        arrays = self._load(self._weights(last))
        weights, states = len(model.get_weights()), model.optimizer.variables
        if [array.shape for array in arrays[weights:]] != [tuple(state.shape) for state in states]:
            raise self._damaged(self._weights(last))
        self._set_weights(model, arrays[:weights], self._weights(last))
        for state, array in zip(states, arrays[weights:], strict=True):
            state.assign(array)

    def restore_best(self, model: Any, best: Epoch) -> None:
        """Load the best weights into a model, whatever its optimizer.

        Raises:
          WorkspaceError: they are missing, damaged or of another network.
        """
        file = self._best_weights(best)
        self._set_weights(model, self._load(file), file)

    def write_left_out(self, paths: Iterable[str]) -> Path:
        """Write the paths of images on neither side of the split as a list that `predict` reads; return its path.

        Raises:
          OSError: it cannot be written.
        """
        # A list's paths are relative to its folder.
        whole = (path if storage.is_remote(path) else os.path.abspath(path) for path in paths)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([["path"], *([path] for path in whole)])
        file = self.folder / _LEFT_OUT
        storage.write(str(file), text.getvalue().encode("utf-8", "surrogateescape"))
        return file

    def clear(self) -> None:
        """Remove what only unfinished training needs."""
        (self.folder / SETTINGS).unlink(missing_ok=True)  # first: without it there is nothing to resume
        remove(self.folder, OF_UNFINISHED)

    def start_over(self) -> None:
        """Remove the epochs done so far; the decoded images stay."""
        remove(self.folder, (*_OF_EPOCHS, _CHECKPOINT))

    def discard(self) -> None:
        """Remove everything, if there is nothing to resume."""
        self.clear()
        remove(self.folder, OF_FINISHED)

    def can_resume(self) -> bool:
        """Return whether an epoch is done, or the images are decoded."""
        return self.history_file.exists() or dataset.is_decoded(self.images)

    @property
    def _checkpoint(self) -> Path:
        return self.folder / _CHECKPOINT

    def _weights(self, epoch: Epoch) -> Path:
        return self._checkpoint / f"epoch-{epoch.epoch}.npz"

    def _best_weights(self, epoch: Epoch) -> Path:
        return self._checkpoint / f"best-{epoch.epoch}.npz"

    def _load(self, file: Path) -> list[NDArray[Any]]:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return [arrays[name] for name in arrays.files]
        except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise self._damaged(file) from error

    def _set_weights(self, model: Any, arrays: list[NDArray[Any]], file: Path) -> None:
        try:
            model.set_weights(arrays)
        except ValueError as error:
            raise self._damaged(file) from error

    def _damaged(self, file: Path) -> WorkspaceError:
        return WorkspaceError(f"{file} is missing or damaged", f"delete {self.folder} to start over")


def _save(file: Path, arrays: Iterable[NDArray[Any]]) -> None:
    """Write arrays to a file, completely or not at all, even after a power cut."""
    # Not with `storage.write`, which would need a second copy of the weights in memory.
    partial = file.with_suffix(".partial")
    try:
        with partial.open("wb") as opened:
            np.savez(opened, *arrays)
    except OSError as error:
        error.filename = error.filename or str(file)  # a full disk does not say where it is
        raise
    storage.move(str(partial), str(file))


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders of a workspace, as far as they are there."""
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
