"""Fixtures of the tests of `model`: labelled chips, and what a training on them has left."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.bundles import IMAGE_SIZE
from tests.sharing import made_once

CHIPS = 48

SMALL = ("--image_size", str(IMAGE_SIZE), "--alpha", "0.35", "--weights", "none")
"""Flags of a network that is trained in seconds."""


@contextmanager
def eagerly() -> Iterator[None]:
    """Run TensorFlow eagerly: compiling takes longer than a few batches do."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


class Unfinished(NamedTuple):
    """A training that was interrupted when all epochs were done, before it could write its bundle.

    Attributes:
      flags: of the command, all but --output.
      workspace: the folder from which training resumes if it is copied to OUTPUT.training, next to the output.
      told: what the command wrote to standard error.
    """

    flags: list[str]
    workspace: Path
    told: str


@pytest.fixture(scope="session")
def training_chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw chips with their labels, which no test changes: images in `jpg/`, and `labels.csv`."""
    from model.synthetic import chips as synthetic

    def draw(folder: Path) -> None:
        synthetic.write_chips(folder, CHIPS, seed=1, size=64)

    return made_once(tmp_path_factory, "training_chips", draw)


@pytest.fixture(scope="session")
def unfinished(tmp_path_factory: pytest.TempPathFactory, tensorflow: Any, training_chips: Path) -> Unfinished:
    """Train a tiny network on chips drawn by code, for two epochs, and interrupt it before the export."""
    from model import train
    from model.export import bundle as export

    flags = ["--images", str(training_chips / "jpg"), "--labels", str(training_chips / "labels.csv")]
    flags += [*SMALL, "--finetune_epochs", "2"]

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def train_until_then(folder: Path) -> None:
        with eagerly(), pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as told:
            patch.setattr(export, "export", interrupt)
            assert train.main([*flags, "--output", str(folder / "bundle")]) == 130
        (folder / "told.txt").write_text(told.getvalue())

    folder = made_once(tmp_path_factory, "unfinished", train_until_then)
    return Unfinished(flags, folder / "bundle.training", (folder / "told.txt").read_text())
