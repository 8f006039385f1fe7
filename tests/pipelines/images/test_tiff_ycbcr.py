"""YCbCr in TIFFs that is not in JPEGs has the right colours, and none that a part of the file is missing of."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.images import ImageError, decode
from tests import image_files as files
from tests.pipelines.images import tiff_files
from tests.pipelines.images.decoding import assert_decodes, assert_refused, from_ycc
from tests.pipelines.images.tiff_files import COMPRESSION, STRIP_ROWS, SUBSAMPLING

YCBCR = files.picture(23, 37, seed=5)
SUBSAMPLINGS = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2)]


def subsample(samples: NDArray[np.uint8], across: int, down: int) -> tuple[bytes, NDArray[np.uint8]]:
    """Store YCbCr in units of some pixels with one colour; return it, and what it shows."""
    short = -len(samples) % down, -samples.shape[1] % across
    padded = np.pad(samples, ((0, short[0]), (0, short[1]), (0, 0)), "edge")
    stored = b""
    for top in range(0, len(padded), down):
        for left in range(0, padded.shape[1], across):
            unit = padded[top : top + down, left : left + across]
            unit[..., 1:] = unit[0, 0, 1:]
            stored += unit[..., 0].tobytes() + unit[0, 0, 1:].tobytes()
    return stored, padded[: len(samples), : samples.shape[1]]


def of_ycbcr(
    subsampling: tuple[int, int], rows: int, *, deflate: bool, short: int = 0
) -> tuple[bytes, NDArray[np.float64]]:
    """Write a TIFF in strips, the second of which lacks some bytes; return it, and what it shows."""
    strips, shown = [], []
    for top in range(0, len(YCBCR), rows):
        stored, seen = subsample(YCBCR[top : top + rows], *subsampling)
        stored = stored[: len(stored) - short * (top == rows)]
        strips.append(zlib.compress(stored) if deflate else stored)
        shown.append(seen)
    tags: dict[int, tuple[str, Sequence[int]]] = {
        COMPRESSION: ("H", [8 if deflate else 1]),
        STRIP_ROWS: ("I", [rows]),
        SUBSAMPLING: ("H", subsampling),
    }
    return tiff_files.of_strips(strips, YCBCR.shape, files.YCBCR, tags), from_ycc(np.vstack(shown))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("rows", [8, 16, 23])
@pytest.mark.parametrize("deflate", [False, True])
def test_ycbcr_is_read_whether_compressed_or_not(subsampling: tuple[int, int], rows: int, deflate: bool) -> None:
    data, shown = of_ycbcr(subsampling, rows, deflate=deflate)
    assert_decodes(data, shown, "tiff 3x8", within=2)


@pytest.mark.parametrize("deflate", [False, True])
def test_ycbcr_is_read_band_by_band(deflate: bool) -> None:
    data = files.tiff(YCBCR, files.YCBCR, planar=True, deflate=deflate, tags={SUBSAMPLING: ("H", [1, 1])})
    assert_decodes(data, from_ycc(YCBCR), "tiff 3x8", within=2)
    for length in range(40, len(data) - 200, 97):
        with pytest.raises(ImageError):
            decode(data[:length])


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("short", [1, 30])
def test_ycbcr_of_which_a_part_is_missing_is_refused(subsampling: tuple[int, int], deflate: bool, short: int) -> None:
    data, _ = of_ycbcr(subsampling, 8, deflate=deflate, short=short)
    assert_refused(data, "TIFF")


def test_ycbcr_whose_last_pixels_libtiff_misreads_is_refused() -> None:
    data, _ = of_ycbcr((4, 4), 8, deflate=True)
    assert_refused(data, "TIFF in YCbCr with subsampling 4 x 4 is not supported")
    by_band = files.tiff(YCBCR, files.YCBCR, planar=True, tags={SUBSAMPLING: ("H", [2, 2])})
    assert_refused(by_band, "subsampled YCbCr whose bands follow one another")
