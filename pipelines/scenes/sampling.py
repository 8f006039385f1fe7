"""Look for what only the values of a whole scene say: their percentiles, and whether they hold an offset.

What is found depends on nothing but the bytes of the scene, so that everyone who opens it finds the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from math import isqrt, prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines import storage
from pipelines.errors import quantity
from pipelines.images import decode_values
from pipelines.images.layout import DamagedImageError, ImageTooLargeError, UntrustedColoursError
from pipelines.images.parts import Box, Data
from pipelines.images.products import Stretch
from pipelines.images.rendering import COLOURS, PERCENT, is_range
from pipelines.images.tiff.overviews import divide_overviews
from pipelines.images.tiff.parts import DividedTiff
from pipelines.images.tiff.rasters import Raster, find_raster
from pipelines.images.tiff.scaling import check_agreement, check_dark, check_held, find_offset
from pipelines.records import File
from pipelines.scenes.fetching import fetch_spans
from pipelines.scenes.grid import Grid
from pipelines.scenes.masks import Mask
from pipelines.scenes.memory import looking_at
from pipelines.scenes.pages import open_pages
from pipelines.scenes.reading import find_hidden
from pipelines.scenes.scene import Scene, as_listed

_LEAST_PIXELS = 1 << 18
"""Of an overview: fewer do not show the scene."""
_LEAST_BLOCKS, _MOST_BLOCKS = 4, 64
_MOST_PIXELS = 1 << 23
"""Of all blocks that are read, unless the least number of them have more."""
_MOST_BLOCK = 1 << 24
"""Pixels of a strip or tile; larger ones would take more memory than all else that a scene takes."""
_MOST_VALUES = 1 << 19
"""Of a colour, of which percentiles are computed."""

_T = TypeVar("_T")


def check_block(image: DividedTiff) -> None:
    """Refuse an image that is not in blocks of which one can be decoded while others wait.

    Raises:
      ImageTooLargeError: it is not.
    """
    if prod(image.block) > _MOST_BLOCK:
        raise ImageTooLargeError(
            f"{image.grid.what}s of {quantity(prod(image.block), 'pixel')}: more than {_MOST_BLOCK:,} are not decoded "
            "at once where a scene is looked at as a whole",
            "rewrite it in tiles, e.g. with gdal_translate -of COG",
        )


def settle(scene: Scene, grid: Grid, red: Scene | None = None, stated: int | None = None) -> Scene:
    """Look for how a scene becomes pictures, where that depends on the values of all of it.

    Args:
      scene: that is one file.
      grid: of the windows.
      red: settled, if the scene is green or blue of a scene whose bands are files of their own.
      stated: offset of its values, as a STAC item says; None if none does.

    Raises:
      ImageError: the values do not say it, or contradict what is stated, or cannot be decoded.
      OSError: they cannot be fetched.
    """
    image, rendering = scene.image, scene.rendering
    raster = find_raster(image.directory, rendering) if isinstance(image, DividedTiff) else None
    if not isinstance(image, DividedTiff) or raster is None:
        return scene
    if raster.is_settled:
        if stated is not None and raster.product and not rendering.stretch:
            check_agreement(raster.offset, stated, raster.product)
        return scene
    is_larger = max(image.width, image.height) > grid.tile
    if raster.percentiles and not is_larger:
        raise UntrustedColoursError(
            "raster no larger than a window: percentiles are those of a scene", "give values, e.g. --stretch 0:3000"
        )
    of_red = red.rendering.offset if red and raster.offset is None else None
    if red and of_red == 0:
        # Red is the darkest on land and water alike; other colours do not tell.
        return scene._replace(rendering=red.rendering)
    if raster.offset is None and (stated == 0 or (stated and red)):
        return _shift(scene, raster, stated)
    pages = open_pages(scene.file)
    with as_listed(scene.ref):
        values = _look(raster, pages, scene.file, image, scene.mask)
    if raster.percentiles:
        names = COLOURS if len(values) == len(COLOURS) else ("its band",)
        stretch = [_find_range(*given) for given in zip(values, raster.percentiles, names, strict=True)]
        return scene._replace(rendering=rendering._replace(stretch=_of_all(stretch), percentiles=()))
    if red and of_red:
        check_dark(values[0], raster.product)
        return scene._replace(rendering=red.rendering)
    if stated:
        check_held(values[0], raster.product)
        return _shift(scene, raster, stated)
    return _shift(scene, raster, find_offset(values, raster.product, of_scene=is_larger and red is None))


def _shift(scene: Scene, raster: Raster, offset: int) -> Scene:
    """Settle a scene by the offset of its values."""
    stretch = _of_all(raster.shifted(offset).stretch)
    return scene._replace(rendering=scene.rendering._replace(stretch=stretch, offset=offset))


def _of_all(stretch: Sequence[tuple[float, float]]) -> Stretch:
    """Return ranges of red, green and blue, given those of these or of the only band."""
    return tuple(stretch) * (len(COLOURS) // len(stretch))


def _find_range(values: NDArray[Any], percentiles: tuple[float, float], colour: str) -> tuple[float, float]:
    if not len(values):
        raise UntrustedColoursError(
            "scene of which no pixel that was looked at holds data: its percentiles are unknown",
            "give values, e.g. --stretch 0:3000",
        )
    # Values that are there, so that they can be given to --stretch as they are.
    low, high = (value.item() for value in np.percentile(values, percentiles, method="nearest"))
    if not is_range(low, high):
        lower, higher = (f"{PERCENT}{percent:g}" for percent in percentiles)
        raise UntrustedColoursError(
            f"scene of which {lower} and {higher} of {colour} are {low:g} and {high:g}: nothing would be seen",
            "give values, e.g. --stretch 0:3000",
        )
    return low, high


def _look(raster: Raster, pages: Data, file: File, image: DividedTiff, mask: Mask | None) -> list[NDArray[Any]]:
    """Return values of each colour, from the smallest overview that shows the scene, or from the scene itself."""
    # What a mask in another file hides is hidden in no overview.
    found = divide_overviews(pages, image) if mask is None or mask.file == file else ()
    overviews = [
        (overview, Mask(of_overview, file) if of_overview else None)
        for overview, of_overview in found
        # Programs can make overviews and fill them later.
        if overview.width * overview.height >= _LEAST_PIXELS
        and any(overview.grid.sizes)
        and prod(overview.block) <= _MOST_BLOCK
    ]
    for overview, of_overview in sorted(overviews, key=lambda each: each[0].width):
        with suppress(DamagedImageError):
            return _sample(raster, pages, overview, of_overview)
    check_block(image)
    return _sample(raster, pages, image, mask)


def _sample(raster: Raster, pages: Data, image: DividedTiff, mask: Mask | None) -> list[NDArray[Any]]:
    """Return values of each colour that hold data."""
    boxes = _choose_blocks(image, raster.bands[0])
    bands = raster.bands if image.is_separate else ()
    # Odd, so that it does not pick the same few columns of all rows.
    step = sum(box.width * box.height for box in boxes) // _MOST_VALUES | 1
    found: list[list[NDArray[Any]]] = [[] for _ in raster.bands]
    for box in boxes:
        hidden = _find_hidden(mask, box) if mask else np.zeros((box.height, box.width), np.bool_)
        part = image.find_part(box, bands)
        for hole in part.holes:
            hidden[hole.within(part.box)] = True
        with looking_at(image, part):
            data = image.write_part(part, fetch_spans(part.spans, lambda start, length: pages[start : start + length]))
            for colour, top, samples, lacks in decode_values(data, raster, _MOST_BLOCK) if data else ():
                lacks |= hidden[top : top + len(samples)]
                if samples.dtype.kind == "f":
                    lacks |= ~np.isfinite(samples)
                found[colour].append(samples[~lacks][::step])
    return [np.concatenate(values) if values else np.zeros(0) for values in found]


def _find_hidden(mask: Mask, box: Box) -> NDArray[np.bool_]:
    """Return which pixels a mask hides: bool[rows, columns]."""
    image, file = mask
    with looking_at(image, image.find_part(box)):
        fetch = partial(storage.read_range, file.path, fingerprint=file.fingerprint)
        return find_hidden(image, box, fetch, nullcontext)


def _choose_blocks(image: DividedTiff, band: int) -> list[Box]:
    """Return the pixels of some blocks that are evenly spread over those that the file holds.

    Args:
      image: it is divided into blocks.
      band: number of one that is needed, from 0.
    """
    (width, height), grid = image.block, image.grid
    across = -(-image.width // width)
    begin = band * across * grid.down if grid.number > across * grid.down else 0
    held = []
    for row in range(grid.down):
        sizes = grid.sizes[begin + row * across : begin + (row + 1) * across]
        if columns := [column for column, size in enumerate(sizes) if size]:
            held.append((row, columns))
    most = min(_MOST_BLOCKS, max(_LEAST_BLOCKS, _MOST_PIXELS // (width * height)))
    in_row = min(across, isqrt(most))
    return [
        Box(left, top, min(left + width, image.width), min(top + height, image.height))
        for row, columns in _spread(held, most // in_row)
        for left, top in ((column * width, row * height) for column in _spread(columns, in_row))
    ]


def _spread(items: Sequence[_T], most: int) -> Sequence[_T]:
    """Return at most `most` items, evenly spread."""
    if len(items) <= most:
        return items
    return [items[(2 * number + 1) * len(items) // (2 * most)] for number in range(most)]
