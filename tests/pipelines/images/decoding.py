"""Pictures, and what tests of decoding assert of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.images import ImageError, decode
from tests import icc_profiles
from tests import image_files as files

RGB = files.mosaic()
GRAY = files.mosaic(bands=1)[..., 0]
GRAY_RGB = np.dstack([GRAY] * 3)
RGBA = files.mosaic(bands=4)
DEEP_RGB, DEEP_GRAY = files.deep(RGB), files.deep(GRAY)
PALETTE = files.mosaic(1, 256, seed=3)[0, :: files.BLOCK]
LOSSLESS: dict[str, Any] = {"lossless": True, "exact": True}
BEST: dict[str, Any] = {"quality": 100, "subsampling": 0}
UNMARKED = ("unmarked_rgba_jpeg",)
MASKED = ("unmarked_rgba_jpeg", "alpha_dropped")


def assert_decodes(
    data: bytes, expected: NDArray[Any], source: str, repairs: Sequence[str] = (), *, within: int = 0
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode(data)
    assert (decoded.source, decoded.repairs) == (source, tuple(repairs))
    assert_close(decoded.pixels, expected, within)


def assert_close(pixels: NDArray[Any], expected: NDArray[Any], within: int = 0) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    difference = np.abs(pixels.astype(int) - expected.astype(int)).max()
    assert difference <= within, f"pixels differ by {difference} levels, more than {within}"


def assert_refused(data: bytes, reason: str, **options: Any) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        decode(data, **options)
    assert "\n" not in str(caught.value)


# The formulas below are those of the standards, written without a look at any decoder.


def from_inks(inks: NDArray[Any]) -> NDArray[Any]:
    """Mix cyan, magenta, yellow and black (255 is full ink) into RGB."""
    return np.rint((255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255)


def from_ycc(stored: NDArray[Any]) -> NDArray[Any]:
    """Turn full-range YCbCr of ITU-R BT.601 into RGB, as JFIF says."""
    y, cb, cr = (stored[..., band].astype(float) for band in range(3))
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    return np.clip(np.rint(np.dstack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue])), 0, 255)


def to_eight_bits(deep: NDArray[Any]) -> NDArray[Any]:
    return np.rint(deep / 257)


WIDE = icc_profiles.rgb(1.8, [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)])
PRINTER = icc_profiles.cmyk()
