"""An output to map, and a page to look at."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.map.mapping import SCENE, Look, make
from tests.pipelines.results.scene_outputs import image, square, window, write_rows


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Write an output: six windows of two scenes in two files, one without a place, and an image."""
    rows = [
        window(SCENE, 256 * column, 0, square(10 + column * 0.01, 20), p_road=probability, p_clear=1 - probability)
        for column, probability in enumerate((0.2, 0.2137, 0.5, 0.9))
    ]
    write_rows(tmp_path / "out", *rows[:3], window(SCENE, 0, 512), name="a")
    write_rows(
        tmp_path / "out", rows[3], *(window("/archive/south.tif", 0, row, square(10, 18)) for row in (0, 256)), name="b"
    )
    write_rows(tmp_path / "out", image("/archive/chip.jpg"), name="c")
    return tmp_path / "out"


@pytest.fixture
def look(output: Path, tmp_path: Path) -> Look:
    """Make a page, and look at it in Node: at first, and after steps."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")

    def look(*flags: str, steps: Sequence[Sequence[object]] = (), output: Path = output) -> Any:
        assert make(output, "--html", str(tmp_path / "map.html"), *flags) == 0
        program = Path(__file__).parents[1] / "results" / "page_in_node.js"
        done = subprocess.run(
            [str(node), str(program), str(tmp_path / "map.html"), json.dumps(steps)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return look
