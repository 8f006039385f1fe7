"""Whether the values of a product hold an offset that only some of its files have: by metadata, or by the values.

Never by the date or the name of a file: archives are processed anew, and some providers remove the offset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.images.layout import UntrustedColoursError
from pipelines.images.products import PRODUCTS, ask_for_stretch

_BASELINE = re.compile(rb'<Item name="PROCESSING_BASELINE">\s*(\d{1,2}\.\d{1,2})\s*</Item>')
_ROLE = re.compile(rb'<Item\b([^<>]{0,200})\brole="(offset|scale)"[^<>]{0,200}>([^<]{1,60})</Item>')
_SAMPLE = re.compile(rb'sample="(\d{1,4})"')
_AS_STORED = (1.0, 0.0)
"""Scale and offset that change nothing."""
_SINCE = 4.0
"""The processing baseline of Sentinel-2 from which on values hold the offset."""

# Of red, the darkest colour on land and water alike. Without an offset, vegetation, water and shadow are far below 500
# also as seen from space; with it, no surface is, but pixels at the edge of what holds no data can be, once a scene was
# resampled: so a few of them do not count. An offset of 1,000 leaves few values below 900, and the darkest surface
# below 1,500; without one, values begin as high as that only where all is clouds, snow or dry soil, and mostly higher.
_WITHOUT_PERCENT, _WITHOUT_BELOW, _CHIP_VALUES = 5, 500, 1000
_WITH_PERCENT, _WITH_LEAST, _WITH_BELOW = 0.1, 900, 1500
_SCENE_VALUES = 100_000
"""Fewer do not show what the darkest surfaces of a scene are."""


def read_offset(metadata: bytes, product: str, bands: Sequence[int]) -> int | None:
    """Return the offset of a file's values as its metadata state it; None if they do not, 0 if the product has none.

    Args:
      metadata: GDAL's, in XML; empty if there is none.
      product: of the file.
      bands: numbers of those that are red, green and blue, from 0.

    Raises:
      UntrustedColoursError: they state what the product does not have.
    """
    known, scalings = PRODUCTS[product].offset, PRODUCTS[product].scalings
    stated = {_stated(metadata, band) for band in bands}
    if scalings and stated != {_AS_STORED}:
        fitting = [number for number, scaling in enumerate(scalings) if all(_fits(one, scaling) for one in stated)]
        if not fitting:
            raise UntrustedColoursError(
                f"TIFF whose metadata state a different scale or offset than {product} has",
                "give --bands and --stretch",
            )
        return known * fitting[0]
    if not known:
        return 0
    baseline = _BASELINE.search(metadata)
    return known * (float(baseline[1]) >= _SINCE) if baseline else None


def find_offset(colours: Sequence[NDArray[Any]], product: str, *, of_scene: bool) -> int:
    """Return the offset of a file's values.

    Args:
      colours: values of red that hold data; also of green and blue if they are in the same file.
      product: of the file.
      of_scene: whether they are of a whole scene, which has dark surfaces somewhere, or of a chip.

    Raises:
      UntrustedColoursError: the values do not show it.
    """
    [red, *others] = colours
    if len(red) >= _CHIP_VALUES:
        low, lower = np.percentile(red, (_WITHOUT_PERCENT, _WITH_PERCENT))
        if low < _WITHOUT_BELOW:
            return 0
        if of_scene and len(red) >= _SCENE_VALUES and _WITH_LEAST <= lower < _WITH_BELOW:
            for values in others:
                check_dark(values, product)
            return PRODUCTS[product].offset
    raise _unknown(product)


def check_dark(values: NDArray[Any], product: str) -> None:
    """Verify that green or blue may hold the offset that red seems to hold: of dry soil alone, they are darker.

    Raises:
      UntrustedColoursError: some are less than any that hold it.
    """
    if len(values) and np.percentile(values, _WITH_PERCENT) < _WITH_LEAST:
        raise _unknown(product)


def check_held(red: NDArray[Any], product: str) -> None:
    """Verify that red may hold the offset that a document states.

    Raises:
      UntrustedColoursError: too much of it is less than any that holds it.
    """
    if len(red) and np.percentile(red, _WITHOUT_PERCENT) < _WITHOUT_BELOW:
        raise _contradictory(PRODUCTS[product].offset, "some of its values are too low for that", product)


def check_agreement(offset: int | None, stated: int, product: str) -> None:
    """Verify that the offset of a file, by its metadata, is the one that a document states.

    Raises:
      UntrustedColoursError: it is another one of two that the product may have.
    """
    if PRODUCTS[product].offset and offset != stated:
        raise _contradictory(stated, f"whose metadata state {offset:,}", product)


def _contradictory(stated: int, reason: str, product: str) -> UntrustedColoursError:
    return UntrustedColoursError(
        f"TIFF whose STAC item states that its values hold an offset of {stated:,}, but {reason}",
        ask_for_stretch(product),
    )


def _unknown(product: str) -> UntrustedColoursError:
    return UntrustedColoursError(
        f"TIFF that does not show whether its values hold the offset of {PRODUCTS[product].offset:,} of {product}: "
        "neither its metadata nor its darkest values say it",
        ask_for_stretch(product),
    )


def _stated(metadata: bytes, band: int) -> tuple[float, float]:
    """Return scale and offset of a band: those of values as they are stored if none are stated."""
    found = dict(zip((b"scale", b"offset"), _AS_STORED, strict=True))
    for match in _ROLE.finditer(metadata):
        sample = _SAMPLE.search(match[0])
        if sample and int(sample[1]) == band:
            try:
                found[match[2]] = float(match[3])
            except ValueError:
                found[match[2]] = math.nan
    return found[b"scale"], found[b"offset"]


def _fits(stated: tuple[float, float], scaling: tuple[float, float]) -> bool:
    """Return whether what is stated is a known scale, and an offset to less than half a step of the values."""
    (scale, offset), (known, shift) = stated, scaling
    # Also false of what is no number.
    return abs(scale / known - 1) <= 1e-3 and abs(offset - shift) < known / 2
