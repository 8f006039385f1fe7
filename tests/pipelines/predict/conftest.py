"""Run `scenetags predict` on chips in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines import predict
from tests.bundles import write_bundle
from tests.pipelines.predict.predicting import Predict, chip
from tests.scene_files import samples, write_scene
from tests.sharing import made_once


@pytest.fixture
def run(tmp_path: Path, bundle_path: str, runner: Sequence[str]) -> Predict:
    """Run the command on `tmp_path/chips` into `tmp_path/out`, unless the arguments say otherwise."""

    def run(*arguments: str, **flags: Any) -> int:
        flags = {"input": tmp_path / "chips", "model": bundle_path, "output": tmp_path / "out", **flags}
        named = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        return predict.main([*named, "--progress=off", *runner, *arguments])

    return run


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    folder = tmp_path / "chips"
    folder.mkdir()
    for seed in range(10):
        (folder / f"{seed}.jpg").write_bytes(chip(seed))
    return folder


@pytest.fixture(scope="session")
def poisoned_bundle_path(tmp_path_factory: pytest.TempPathFactory, tensorflow_installed: None) -> str:
    """Path of a bundle like the small one, in which a kernel fails when it comes to a `POISON` coloured image."""
    made = made_once(tmp_path_factory, "poisoned", lambda folder: write_bundle(folder / "poisoned", poisoned=True))
    return str(made / "poisoned")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Write two scenes of 2 x 3 windows."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for number, name in enumerate(("a.tif", "b.tif")):
        write_scene(folder / name, samples(128, 192, seed=number), tile=64)
    return folder
