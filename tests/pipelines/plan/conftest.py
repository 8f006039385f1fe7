"""A folder to plan for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import plan
from tests.image_files import encode, picture, unmarked_rgba_jpeg
from tests.pipelines.conftest import WriteChips
from tests.pipelines.plan.planning import CHIPS, Run


@pytest.fixture
def folder(chips: WriteChips) -> Path:
    """Write chips, a plain PNG, two damaged images and a text file."""
    folder = chips(CHIPS)
    (folder / "plain.png").write_bytes(encode(picture(), "png"))
    (folder / "cut.jpg").write_bytes(unmarked_rgba_jpeg(picture())[:500])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def run(folder: Path, bundle_path: str) -> Run:
    """Plan for the folder, unless the arguments say otherwise."""

    def run(*arguments: str, **flags: Any) -> int:
        flags = {"input": folder, "model": bundle_path, **flags}
        named = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        return plan.main([*named, *arguments])

    return run
