"""What is looked at while scenes are opened takes no more memory, however many are opened at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import storage
from pipelines.images.rendering import Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.records import ImageRef
from pipelines.scenes import memory
from pipelines.scenes.grid import Grid
from pipelines.supervision.budget import Budget
from tests.scene_files import samples, write_scene

P2_P98 = Rendering((3, 2, 1), percentiles=((2, 98),) * 3)


def test_blocks_and_masks_are_fetched_once_there_is_memory_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "a.tif", samples(300, 400), tile=256)
    mask = write_scene(tmp_path / "a_udm2.tif", np.ones((8, 300, 400), "uint8"), tile=256)
    budget, read = Budget(1, 1), storage.read_range
    free = dict[str, list[int]]()

    def noted(path: str, start: int, *others: Any, **named: Any) -> bytes:
        # Directories are at the beginning.
        free.setdefault(path, []).extend([budget._free] * bool(start))
        return read(path, start, *others, **named)

    monkeypatch.setattr(memory, "_LOOKING", budget)
    monkeypatch.setattr(storage, "read_range", noted)
    windows = list(cut_scenes([refer(str(scene))], CutSettings(Grid(64, 64, clear=0.5), P2_P98, 1 << 24)))
    assert all(isinstance(window, ImageRef) for window in windows)
    for path in (scene, mask):
        assert free[str(path)], "nothing was fetched"
        assert set(free[str(path)]) == {0}
    assert budget._free == 1
