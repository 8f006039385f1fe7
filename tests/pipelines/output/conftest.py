"""Two runs into one output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.inference.bundle import load_bundle
from pipelines.output.run import Run


@pytest.fixture
def first(tmp_path: Path, bundle_path: str) -> Run:
    bundle = load_bundle(bundle_path)
    return Run("20260101T000000Z-0001", str(tmp_path / "out"), bundle, bundle.thresholds)


@pytest.fixture
def second(first: Run) -> Run:
    return replace(first, name="20260101T000000Z-0002")


@pytest.fixture
def third(first: Run) -> Run:
    return replace(first, name="20260101T000000Z-0003")
