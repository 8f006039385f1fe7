"""Fixtures of the tests of `model`: labelled chips, and what a training on them has left."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data.dataset import Examples
from model.quality import calibration
from model.quality.facts import Facts
from pipelines.inference.bundle import Bundle, load_bundle
from tests.bundles import IMAGE_SIZE
from tests.sharing import made_once

CHIPS = 48

SMALL = ("--image_size", str(IMAGE_SIZE), "--alpha", "0.35", "--weights", "none")
"""Flags of a network that is trained in seconds."""


def flags(chips: Path, output: Path) -> list[str]:
    return ["--images", str(chips / "jpg"), "--labels", str(chips / "labels.csv"), "--output", str(output)]


@contextmanager
def eagerly(really: bool = True) -> Iterator[None]:
    """Run TensorFlow eagerly, as compiling takes longer than a few batches do; or, within that, not."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(really)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


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


class Trained(NamedTuple):
    """What a training gave: the bundle, and the network, facts and held-out images that it was exported from."""

    bundle: Bundle
    model: Any
    facts: Facts
    validation: Examples


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


def correct(truth: NDArray[np.bool_], probabilities: NDArray[np.float32], *judged: Any) -> calibration.Calibration:
    """Fit a calibration, whose few images ask for no correction, and have it correct all the same."""
    correction = calibration.Correction(1.5, np.linspace(-1, 1, truth.shape[1]))
    return dataclasses.replace(_fit(truth, probabilities, *judged), correction=correction)


_fit = calibration.fit


def resume(unfinished: Unfinished, output: Path, export: Callable[..., Bundle], *flags: str) -> None:
    """Resume the interrupted training up to its export, with a correction of its probabilities."""
    from model import train
    from model.export import bundle as exporting

    def compiled(*arguments: Any) -> Bundle:
        with eagerly(False):
            return export(*arguments)

    shutil.copytree(unfinished.workspace, output.with_name(f"{output.name}.training"))
    with eagerly(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "export", compiled)
        patch.setattr(calibration, "fit", correct)
        assert train.main([*unfinished.flags, "--output", str(output), *flags]) == 0


@pytest.fixture(scope="session")
def trained(unfinished: Unfinished, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Resume the interrupted training, up to its bundle."""
    from model.export.bundle import export

    output = tmp_path_factory.mktemp("bundles") / "tiny"
    exported: list[Any] = []

    def watch(model: Any, output: Path, facts: Facts, validation: Examples, *rest: Any) -> Bundle:
        exported.extend((model, facts, validation))
        return export(model, output, facts, validation, *rest)

    resume(unfinished, output, watch, "--note", "Drawn by code.", "--max_minutes", "600")
    return Trained(load_bundle(str(output)), *exported)
