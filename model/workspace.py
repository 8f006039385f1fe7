"""The folder beside a bundle in which its training keeps what it needs to go on after an interruption.

    BUNDLE.training/settings.json       what is being trained; another training is refused
                    images/             the decoded images
                    checkpoint/         weights and optimizer after the last epoch, and the best weights
                    history.csv         a line for each epoch; an epoch counts as done once it is there
                    tensorboard/        the same for TensorBoard

Of these, history and TensorBoard logs stay when the bundle is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model import history
from model.history import Epoch

_SETTINGS = "settings.json"


class WorkspaceError(ValueError):
    """A folder of another training; the message is one line for the user."""


@dataclass(frozen=True)
class Workspace:
    """The folder of one training; see the module."""

    folder: Path

    @property
    def images(self) -> Path:
        """Where the decoded images are."""
        return self.folder / "images"

    @property
    def history_file(self) -> Path:
        """Where the history is, as CSV."""
        return self.folder / "history.csv"

    @property
    def tensorboard(self) -> Path:
        """Where TensorBoard finds its logs."""
        return self.folder / "tensorboard"

    def read_history(self) -> tuple[Epoch, ...]:
        """Read the epochs that are done; none in a new training."""
        return history.read_csv(self.history_file) if self.history_file.exists() else ()

    def commit(self, model: Any, done: Sequence[Epoch], best: Epoch | None) -> None:
        """Save a model after an epoch, so that a training that is killed at any moment continues after some epoch.

        Args:
          model: a compiled `keras.Model`; its optimizer's state is saved with its weights.
          done: all epochs so far; the last one is the one to save.
          best: the epoch among them whose weights are the best, if any are good; they are kept as well.
        """
        keep = {self._weights(done[-1])}
        (self.folder / "checkpoint").mkdir(exist_ok=True)
        model.save_weights(self._weights(done[-1]))
        if best:
            keep.add(self._best_weights(best))
            if best == done[-1]:
                np.savez(self._best_weights(best), *model.get_weights())
        # From here on the new files are the ones that count, and the others are not missed.
        history.write_csv(done, self.history_file)
        for file in (self.folder / "checkpoint").iterdir():
            if file not in keep:
                file.unlink()

    def restore(self, model: Any, last: Epoch) -> None:
        """Give a model, compiled as it was then, the weights and the optimizer's state after its last epoch."""
        model.load_weights(self._weights(last))

    def restore_best(self, model: Any, best: Epoch) -> None:
        """Give a model its best weights, whatever optimizer it has."""
        with np.load(self._best_weights(best), allow_pickle=False) as arrays:
            model.set_weights([arrays[name] for name in arrays.files])

    def clear(self) -> None:
        """Remove what only an unfinished training needs."""
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
        shutil.rmtree(self.images, ignore_errors=True)
        (self.folder / _SETTINGS).unlink(missing_ok=True)

    def _weights(self, epoch: Epoch) -> Path:
        return self.folder / "checkpoint" / f"epoch-{epoch.epoch}.weights.h5"

    def _best_weights(self, epoch: Epoch) -> Path:
        return self.folder / "checkpoint" / f"best-{epoch.epoch}.npz"


def open_workspace(folder: Path, settings: Mapping[str, str]) -> Workspace:
    """Open the folder of a training, to go on where it was interrupted or, if there is none, to begin.

    Args:
      folder: the workspace.
      settings: all that decides what the training gives.

    Raises:
      WorkspaceError: the folder holds an unfinished training with other settings, or cannot be written.
    """
    try:
        unfinished = json.loads((folder / _SETTINGS).read_text())
    except (FileNotFoundError, ValueError):
        unfinished = None
    except OSError as error:
        raise WorkspaceError(f"{folder}: {error.strerror}") from error
    workspace = Workspace(folder)
    if unfinished == settings:
        return workspace
    if unfinished is not None and workspace.history_file.exists():
        changed = ", ".join(
            f"{name} was {unfinished.get(name, 'not set')}, is {value}"
            for name, value in settings.items()
            if unfinished.get(name) != value
        )
        raise WorkspaceError(
            f"{folder} holds an unfinished training of another kind ({changed}); finish it with its own command, "
            "or delete that folder to begin anew"
        )
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _SETTINGS).write_text(json.dumps(settings, indent=2))
    except OSError as error:
        raise WorkspaceError(f"{folder}: {error.strerror}") from error
    return workspace
