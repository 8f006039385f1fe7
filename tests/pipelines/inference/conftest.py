"""A bundle to seal, load and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.inference.bundle import GOLDEN, LITERT_MODEL, MODEL_CARD, Description, seal_bundle
from tests.pipelines.inference.sealed import FIELDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed bundle whose models are only bytes, which nothing here runs."""
    folder = tmp_path / "a bundle"
    (folder / "saved_model" / "variables").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    (folder / "saved_model" / "variables" / "data").write_bytes(bytes(range(50)))
    (folder / LITERT_MODEL).write_bytes(b"flatbuffer" * 5)
    (folder / MODEL_CARD).write_text("A card.\n")
    pixels = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    np.savez(folder / GOLDEN, pixels=pixels, probabilities=np.full((2, 3), 0.5, np.float32))
    seal_bundle(folder, Description(**FIELDS))
    return folder
