"""Decoders start wherever a run does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.image_files import picture, unmarked_rgba_jpeg

CHIP = unmarked_rgba_jpeg(picture())


@pytest.mark.parametrize("soft_only", [False, True], ids=["ulimit -v", "ulimit -S -v"])
def test_a_run_of_limited_memory_decodes_in_processes(tmp_path: Path, soft_only: bool) -> None:
    (tmp_path / "chip.jpg").write_bytes(CHIP)
    script = (
        "import pathlib, resource, sys\n"
        "from pipelines.images import DecodeSettings\n"
        "from pipelines.images.isolation import DecoderPool\n"
        "limit = 2 << 30\n"
        f"hard = resource.getrlimit(resource.RLIMIT_AS)[1] if {soft_only} else limit\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, hard))\n"
        "pool = DecoderPool(DecodeSettings(32, 'bilinear'), 20, 1)\n"
        "pool.decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(resource.prlimit(pool._children[0]._process.pid, resource.RLIMIT_AS))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "chip.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (f"{(2 << 30, 2 << 30)}\n", "")
