"""The epochs of a training, in memory and in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from model.quality.fbeta import BETA, key
from pipelines import storage
from pipelines.errors import ScenetagsError

HEAD: Final = "head"
"""The phase in which only the head is trained."""


class HistoryError(ScenetagsError):
    """A file that is not a history of epochs; the message is one line for the user."""


class Epoch(NamedTuple):
    """One epoch, and how good the network was after it; NaN if diverged, undefined or trained on all images.

    Attributes:
      phase: "head", "fine-tuning", "from scratch" or "all images".
      epoch: 1, 2, ... over all phases.
      learning_rate: of the optimizer.
      loss: what training minimizes, averaged over the training images and the epoch.
      validation_loss: the same of the held-out images.
      validation_fbeta: F-beta over samples of the held-out images at the best flat threshold, 0 to 1.
      validation_map: mean average precision of the held-out images, 0 to 1.
      seconds: duration of the epoch, including validation.
    """

    phase: str
    epoch: int
    learning_rate: float
    loss: float
    validation_loss: float
    validation_fbeta: float
    validation_map: float
    seconds: float


_NUMBERS = Epoch._fields[2:]


def write_csv(history: Sequence[Epoch], path: Path, beta: float = BETA) -> None:
    """Write epochs as CSV, completely or not at all; `read_csv` restores every number exactly.

    The column of F-beta says which it is: `validation_f2`.
    """
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(key(name, beta) for name in Epoch._fields)
    for epoch in history:
        # As Python floats, which are written with all their digits; NumPy's are not always.
        writer.writerow([epoch.phase, epoch.epoch, *(float(getattr(epoch, name)) for name in _NUMBERS)])
    storage.write(str(path), written.getvalue().encode())


def read_csv(path: Path, beta: float = BETA) -> tuple[Epoch, ...]:
    """Read epochs written by `write_csv` with the same beta.

    Raises:
      HistoryError: the file cannot be read, or is not a history.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            return tuple(
                Epoch(row["phase"], int(row["epoch"]), *(float(row[key(name, beta)]) for name in _NUMBERS))
                for row in rows
            )
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise HistoryError(f"{path}: not a history written by training", "remove it to start over") from error
