"""Fixtures of the tests of imports: chips, and a model in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.synthetic.chips import draw_chip
from pipelines import images, storage
from tests.conftest import REAL_CHIPS
from tests.model.foreign import models
from tests.sharing import made_once


@pytest.fixture(scope="session")
def chips() -> NDArray[np.uint8]:
    """Real chips where they are here, and drawn ones elsewhere: uint8 [20, S, S, 3]."""
    if not REAL_CHIPS.is_dir():
        return np.stack([draw_chip(np.random.default_rng(seed), models.SIZE).pixels for seed in range(20)])
    settings = images.DecodeSettings(models.SIZE, "bilinear16")
    files = sorted((REAL_CHIPS / "jpg").iterdir())
    return np.stack([images.decode_resized(storage.read(str(file)), settings).pixels for file in files])


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, tensorflow: Any, chips: NDArray[np.uint8]) -> Path:
    """Write the same network in every format, with its labels and its answers to the chips."""
    return made_once(tmp_path_factory, "foreign", lambda folder: models.write_all(folder, chips))
