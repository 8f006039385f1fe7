"""Planet's usable data masks (UDM2): which pixels of a scene are clear of clouds, haze, shadow and snow."""

from __future__ import annotations

import re
from array import array
from contextlib import nullcontext
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import storage
from pipelines.images.layout import UnsupportedImageError
from pipelines.images.parts import Box
from pipelines.images.rendering import Rendering
from pipelines.images.tiff.bands import first_name
from pipelines.images.tiff.parts import DividedTiff
from pipelines.images.tiff.tags import METADATA
from pipelines.records import ImageRef
from pipelines.scenes.alignment import corners, lie_together
from pipelines.scenes.grid import Grid
from pipelines.scenes.masks import check_size
from pipelines.scenes.memory import looking_at
from pipelines.scenes.reading import decode_box
from pipelines.scenes.sampling import check_block
from pipelines.scenes.scene import Scene, open_file

_CLEAR = Rendering((1, 1, 1))
"""The first of its bands, as Planet's specification numbers them: https://docs.planet.com/data/imagery/udm/."""
_SOURCE = "tiff 8x8"

# As in `20220522_102231_1038_3B_AnalyticMS_SR_8b_harmonized_clip.tif`: what the pixels are, and what was done to them.
_IMAGERY = re.compile(r"_(?:AnalyticMS|Analytic|Visual)(?:_(?:SR|DN|8b|harmonized))*(?=[_.])")


class Clear(NamedTuple):
    """How clear the windows of a scene are.

    Attributes:
      fingerprint: of the mask that says so.
      shares: of pixels that are clear, 0 to 1, in the order in which the scene is divided.
    """

    fingerprint: str
    shares: array[float]


def usable_path(path: str) -> str:
    """Return where the mask of a scene lies: next to it, named as Planet names it."""
    folder, slash, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    usable, replaced = _IMAGERY.subn("_udm2", name)
    return f"{folder}{slash}{usable if replaced else f'{stem}_udm2{dot}{ending}'}"


def look_for_clear(scene: Scene, ref: ImageRef, grid: Grid) -> Clear:
    """Read the mask of a scene.

    Args:
      scene: whose windows are looked at.
      ref: the file of its mask.
      grid: of the windows.

    Raises:
      ImageError: it is damaged, not such a mask, or of another place.
      OSError: it cannot be read.
    """
    mask = open_file(ref, grid, _CLEAR, whole=True)
    image = mask.image if mask else None
    if mask is None or not isinstance(image, DividedTiff) or mask.source != _SOURCE:
        found = mask.source if mask else "another format"
        raise UnsupportedImageError(f"no usable data mask of Planet's, which is a {_SOURCE}, but {found}")
    if (name := first_name(image.directory.texts.get(METADATA, b""))) not in ("", "clear"):
        raise UnsupportedImageError(f"no usable data mask of Planet's: its first band is named {name!r}, not clear")
    _check_alike(scene, mask)
    check_block(image)
    shares = array("d")
    whole = Box(0, 0, mask.division.width, mask.division.height)
    for _, group in groupby(scene.division.windows(), key=itemgetter(0)):
        boxes = [box for _, box in group]
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        around = _within(whole, Box(min(lefts), min(tops), max(rights), max(bottoms)))
        clear = _read(mask, around)
        for box in boxes:
            # What an edge was padded with is not clear.
            number = np.count_nonzero(clear[_within(whole, box).within(around)])
            shares.append(number / (box.width * box.height))
    return Clear(ref.fingerprint, shares)


def _within(whole: Box, box: Box) -> Box:
    """Return what of a box lies within a whole image."""
    return Box(box.left, box.top, min(box.right, whole.right), min(box.bottom, whole.bottom))


def _read(mask: Scene, box: Box) -> NDArray[np.bool_]:
    """Return which pixels are clear: bool[rows, columns]."""

    def fetch(start: int, length: int) -> bytes:
        return storage.read_range(mask.ref.path, start, length, mask.ref.fingerprint)

    bands = (0,) if isinstance(mask.image, DividedTiff) and mask.image.is_separate else ()
    with looking_at(mask.image, mask.image.find_part(box, bands)):
        part = decode_box(mask.image, box, _CLEAR, fetch, nullcontext, bands)
        if part is None:
            return np.zeros((box.height, box.width), np.bool_)
        clear: NDArray[np.bool_] = part.pixels[..., 0] == 1
        return clear


def _check_alike(scene: Scene, mask: Scene) -> None:
    """Refuse a mask that is not on the grid of its scene, pixel by pixel."""
    size = scene.division.width, scene.division.height
    check_size((mask.division.width, mask.division.height), size)
    places = [one.georeference for one in (scene, mask) if one.georeference and one.georeference.transform]
    if len(places) < 2:
        return
    first, second = places
    here, there = (corners(place.transform, *size) for place in places)
    if first.crs != second.crs or not lie_together(here, there, first.transform):
        raise UnsupportedImageError("mask that is not on the grid of its scene", "bring it to the same grid")
