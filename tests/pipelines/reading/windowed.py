"""Windows of a scene in one file, cut, read, and compared with chips."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.images import DecodeSettings, decode_resized
from pipelines.images.limits import Limits
from pipelines.images.rendering import Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, Image, ImageRef, Listed
from pipelines.scenes.grid import Grid
from tests.scene_files import cut_chip

SHOWN = Rendering((3, 2, 1), ((0, 2500),) * 3)
TILE = Grid(64, 64)
MOST = 64_000_000
Read = Image | Failure | Empty


def cut(path: Path, grid: Grid = TILE, rendering: Rendering = SHOWN) -> list[Listed]:
    return list(cut_scenes([refer(str(path))], CutSettings(grid, rendering, MOST)))


def read(path: Path, grid: Grid = TILE, rendering: Rendering = SHOWN) -> list[Read]:
    """Read all windows of a scene, whose reading is then over."""
    refs = cut(path, grid, rendering)
    assert all(isinstance(ref, ImageRef) and ref.window for ref in refs), refs
    decoding = DecodeSettings(48, "bilinear", MOST, rendering)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=grid), 4)) as ahead:
        return list(ahead.read(refs))  # type: ignore[arg-type]


def images(read_: list[Read]) -> list[Image]:
    assert all(isinstance(item, Image) for item in read_), read_
    return read_  # type: ignore[return-value]


def box(item: Read | Listed) -> tuple[int, int, int, int]:
    ref = item if isinstance(item, ImageRef) else item.ref  # type: ignore[union-attr]
    assert ref.window
    return ref.window[1:5]


def check_like_chips(path: Path, shown: list[Read], rendering: Rendering = SHOWN, **options: Any) -> None:
    for window in images(shown):
        chip = decode_resized(cut_chip(path, box(window), **options), DecodeSettings(48, "bilinear", MOST, rendering))
        assert np.array_equal(window.pixels, chip.pixels), window.ref.path
        assert window[1:5] == chip[:4], window.ref.path
