"""Fixtures of the tests of phases: a few images, and a small network that was trained on them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data import dataset
from model.training import fitting
from model.training.opening import open_workspace
from model.training.phases import Phase
from tests import image_files as files
from tests.model.training.labelled_images import COUNT

SIZE = 32
HEAD = Phase("head", 2, 1e-2, "head")
FINETUNING = Phase("fine-tuning", 3, 1e-3, "all but statistics")


@pytest.fixture(scope="session")
def examples() -> dataset.Examples:
    """Images that are dark, bright or half and half."""
    rng = np.random.default_rng(0)
    targets = np.zeros((48, 3), np.float32)
    targets[np.arange(48), np.arange(48) % 3] = 1
    level = np.array([40, 120, 200])[np.arange(48) % 3]
    pixels = rng.normal(level[:, None, None, None], 10, (48, SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
    return dataset.Examples(pixels, np.arange(48), targets)


def small_network() -> Any:
    """Build a network with the layers that phases look for, in less time than a MobileNetV2 takes."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    backbone = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(8, 3, strides=4),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
        ],
        name="backbone",
    )
    pixels = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    features = layers.Dropout(0.2, name="dropout")(backbone(layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)))
    return keras.Model(pixels, layers.Dense(3, "sigmoid")(features))


def training(examples: dataset.Examples, folder: Path) -> fitting.Training:
    """Begin a training, or resume the one in the folder, with a freshly built network."""
    with open_workspace(folder, {"seed": "0"}) as workspace:
        pass
    return fitting.Training(
        model=small_network(),
        training=examples.take(np.arange(40)),
        validation=examples.take(np.arange(40, 48)),
        batch_size=16,
        seed=0,
        workspace=workspace,
        history=list(workspace.read_history()),
    )


@pytest.fixture(scope="session")
def whole(examples: dataset.Examples, tmp_path_factory: pytest.TempPathFactory, tensorflow: Any) -> fitting.Training:
    """Train to the end, once; each test gets a copy of what that left."""
    run = training(examples, tmp_path_factory.mktemp("trained") / "whole")
    run.run([HEAD, FINETUNING])
    return run


@pytest.fixture
def uninterrupted(whole: fitting.Training, tmp_path: Path) -> fitting.Training:
    folder = Path(shutil.copytree(whole.workspace.folder, tmp_path / "whole"))
    return replace(whole, workspace=replace(whole.workspace, folder=folder), history=list(whole.history))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write images of five places, of which two are copies of one another."""
    (tmp_path / "images").mkdir()
    for image in range(COUNT):
        # 3 and 4 are the same picture.
        pixels = files.picture(seed=3 if image == 4 else image)
        (tmp_path / "images" / f"place{image % 5}_{image}.png").write_bytes(files.png(pixels, "RGB"))
    return tmp_path
