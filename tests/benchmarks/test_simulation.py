"""The simulated archive of the benchmark, through the whole job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.simulated import check
from tests import ROOT


def predict(images: int, *flags: str) -> str:
    # In a process of its own: the engine would stay, and others would take it for theirs.
    command = [sys.executable, "-m", "benchmarks.simulated", str(images), "--progress=off", *flags]
    return subprocess.check_output(command, cwd=ROOT, text=True)


def test_every_simulated_image_has_its_row(bundle_path: str, tmp_path: Path) -> None:
    flags = (f"--model={bundle_path}", f"--output={tmp_path}", "--checkpoint_every=128")

    assert predict(300, *flags).startswith("300 images: 297 tagged, 3 failed, 0 skipped as already tagged\n")
    check(str(tmp_path), 300)
    assert predict(300, *flags).startswith("300 images: 0 tagged, 3 failed, 297 skipped as already tagged\n")
    check(str(tmp_path), 300)
    with pytest.raises(AssertionError, match="1 images without a row, 0 with several"):
        check(str(tmp_path), 301)
