"""The simulated archive of the benchmark, through the whole job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.simulated import check
from tests import ROOT

TAG_TWICE = """
import sys
from benchmarks.simulated import check, simulate
output, *flags = sys.argv[1:]
for _ in range(2):
    assert simulate(300, [*flags, f"--output={output}"]) == 0
    check(output, 300)
"""


def test_every_simulated_image_has_its_row(bundle_path: str, tmp_path: Path) -> None:
    # In a process of its own: the engine would stay, and others would take it for theirs.
    command = [sys.executable, "-c", TAG_TWICE, str(tmp_path), f"--model={bundle_path}", "--checkpoint_every=128"]
    told = subprocess.check_output([*command, "--progress=off"], cwd=ROOT, text=True)

    assert [line for line in told.splitlines() if line.startswith("300 images: ")] == [
        "300 images: 297 tagged, 3 failed, 0 skipped as already tagged",
        "300 images: 0 tagged, 3 failed, 297 skipped as already tagged",
    ]
    with pytest.raises(AssertionError, match="1 images without a row, 0 with several"):
        check(str(tmp_path), 301)
