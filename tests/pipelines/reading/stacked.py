"""Scenes whose bands are files of their own, cut and read."""

from __future__ import annotations

from collections.abc import Sequence
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
from pipelines.records import Empty, Failure, Image, Listed
from pipelines.scenes.grid import Grid
from tests.scene_files import cut_chip, samples, write_scene

SHOWN = Rendering((3, 2, 1), ((0, 2500), (100, 2000), (0, 3000)))
IN_ORDER = SHOWN._replace(bands=())
TILE = Grid(64, 64)
MOST = 64_000_000

Read = Image | Failure | Empty


def write_bands(
    folder: Path, count: int = 3, kind: str = "uint16", *, layouts: Sequence[dict[str, Any]] = ({},), **options: Any
) -> list[str]:
    """Write bands as files of their own, in layouts in turn, and return their names."""
    names = [f"b{number}.tif" for number in range(1, count + 1)]
    for number, (name, values) in enumerate(zip(names, samples(170, 210, count, kind), strict=True)):
        write_scene(folder / name, values[np.newaxis], **layouts[number % len(layouts)], **options)
    return names


def cut(
    listed: Listed, rendering: Rendering = SHOWN, trusted: tuple[str, ...] | None = (), grid: Grid = TILE
) -> list[Listed]:
    return list(cut_scenes([listed], CutSettings(grid, rendering, MOST, trusted)))


def refused(path: Path, rendering: Rendering = SHOWN, trusted: tuple[str, ...] | None = ()) -> str:
    [failure] = cut(refer(str(path)), rendering, trusted)
    assert isinstance(failure, Failure), failure
    assert failure.path == str(path)
    return failure.message


def read(refs: Sequence[Listed], rendering: Rendering = SHOWN, grid: Grid = TILE) -> list[Read]:
    decoding = DecodeSettings(48, "bilinear", MOST, rendering)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=grid), 4)) as ahead:
        return list(ahead.read(refs))  # type: ignore[arg-type]


def check_like_chips(path: Path, shown: Sequence[Read], rendering: Rendering = SHOWN, *, repairs: bool = True) -> None:
    """Compare windows with chips that GDAL cuts from a virtual raster."""
    assert len(shown) == 12
    for window in shown:
        assert isinstance(window, Image), window
        assert window.ref.window
        chip = decode_resized(cut_chip(path, window.ref.window[1:5]), DecodeSettings(48, "bilinear", MOST, rendering))
        assert np.array_equal(window.pixels, chip.pixels), window.ref.path
        assert not repairs or window[1:5] == chip[:4], window.ref.path
