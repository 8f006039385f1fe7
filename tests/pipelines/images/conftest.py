"""Decoders in child processes, and faults for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.images.isolation import DecoderPool
from tests.pipelines.images.faults import FAULTS
from tests.pipelines.images.isolated import SETTINGS


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def pool(faults: Path) -> Iterator[DecoderPool]:
    pool = DecoderPool(SETTINGS, max_seconds=20, size=1)
    yield pool
    pool.close()
