"""Write chips side by side as one scene, which says where on the Earth it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import DOUBLE, SHORT

from model.synthetic.chips import SIZE, draw_chip

NAME = "scene.tif"

_METRES = 3.0
"""The side of a pixel, as in scenes of PlanetScope."""

_EAST, _NORTH, _ZONE = 500_000.0, 9_600_000.0, 32720
"""The upper left corner in UTM zone 20 south: in the Amazon."""

_PIXEL_SCALE, _TIE_POINT, _GEO_KEYS = 33550, 33922, 34735
_PROJECTED, _PIXEL_IS_AREA = 1, 1


def write_scene(folder: Path, chips: int, seed: int, size: int = SIZE) -> Path:
    """Write `scene.tif`, a GeoTIFF of this many chips a side, and return its path; a seed gives the same pixels."""
    pixels = np.concatenate([_strip(row, chips, seed, size) for row in range(chips)])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    Image.fromarray(pixels).save(path, "TIFF", tiffinfo=_place())
    return path


def _strip(row: int, chips: int, seed: int, size: int) -> NDArray[np.uint8]:
    """Draw a row of chips: uint8 [S, N * S, 3]."""
    numbers = range(row * chips, (row + 1) * chips)
    drawn = [draw_chip(np.random.default_rng((seed, number)), size).pixels for number in numbers]
    return np.concatenate(drawn, axis=1)


def _place() -> ImageFileDirectory_v2:
    """Return the tags of GeoTIFF 1.1 that place a scene."""
    keys = [(1024, _PROJECTED), (1025, _PIXEL_IS_AREA), (3072, _ZONE)]
    tags = ImageFileDirectory_v2()
    tags.tagtype |= {_PIXEL_SCALE: DOUBLE, _TIE_POINT: DOUBLE, _GEO_KEYS: SHORT}
    tags[_PIXEL_SCALE] = (_METRES, _METRES, 0.0)
    tags[_TIE_POINT] = (0.0, 0.0, 0.0, _EAST, _NORTH, 0.0)
    tags[_GEO_KEYS] = (1, 1, 1, len(keys), *(number for key, value in keys for number in (key, 0, 1, value)))
    return tags
