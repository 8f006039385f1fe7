"""Measure what images look like: their colours, their texture, and how much of them is blank.

Images that look unlike those that a model was trained on differ in these numbers, whatever the model makes of them.
They were chosen on real chips of 256 pixels: from fourteen numbers, exchanged bands, other brightness, blur, other
sensors and damage are all distinguished from chips of the same set. The features of the trained network, tried next to
them or in their place, distinguish them less well.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from pipelines.images.rendering import COLOURS

SMALLEST = 32
"""Columns and rows of the smallest images that are measured."""

LAGS = (1, 2, 4, 8)
"""Distances, in pixels, at which pixels are compared."""

MEASURES = (
    *COLOURS,
    *("contrast_red", "contrast_green", "contrast_blue"),
    *("contrast_red_green", "contrast_green_blue", "contrast_red_blue"),
    *(f"roughness_{lag}" for lag in LAGS),
    "blank",
)
"""What is measured. The channels' means are levels, 0 to 255, and all else is the logarithm of a quantity:

- contrast: standard deviation, in levels, of a channel or of the difference of two; plus `LEAST_CONTRAST`, in squares
- roughness: mean difference of brightness, in levels, between pixels that far apart; plus `LEAST_ROUGHNESS`
- blank: share of pixels from which brightness differs at none of the distances; plus `LEAST_BLANK`

Added before the logarithm so that it is finite and small values, which are noise, do not count.

Bundles hold statistics of these: what is measured in another way needs another name."""

HIGHEST = 255
"""No measure is farther from 0."""

LEAST_CONTRAST, LEAST_ROUGHNESS, LEAST_BLANK = 0.5, 0.25, 0.1

_LINES = 10
"""Rows, and likewise columns, that are looked at: enough to tell textures, and a hundredth of the time of the model."""
_EVERY = 4
"""Pixels of a line per pixel that counts for the colours."""
_PAIRS = ([0, 1, 0], [1, 2, 2])


def measure(images: Collection[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Measure images of one size.

    What is measured of an image depends on that image only, to the last bit.

    Args:
      images: N of them, each uint8[S, S, 3], sRGB, with S at least `SMALLEST`.

    Returns:
      float64[N, K], one column per entry of `MEASURES`.
    """
    lines = _take_lines(images)
    samples = lines[..., ::_EVERY].reshape(len(lines), 3, -1).astype(np.float64)
    count = samples.shape[2]
    means, products = samples.sum(axis=2) / count, samples @ samples.transpose(0, 2, 1) / count
    roughness, blank = _texture(lines)
    # Sums of integers are exact in this precision, in whatever order a processor adds them.
    covariances = products - means[:, :, np.newaxis] * means[:, np.newaxis]
    variances = covariances.diagonal(axis1=1, axis2=2)
    first, second = _PAIRS
    of_pairs = variances[:, first] + variances[:, second] - 2 * covariances[:, first, second]
    contrasts = np.maximum(np.concatenate([variances, of_pairs], axis=1), 0)
    return np.concatenate(
        [
            means,
            np.log(contrasts + LEAST_CONTRAST**2) / 2,
            np.log(roughness + LEAST_ROUGHNESS),
            np.log(blank + LEAST_BLANK)[:, np.newaxis],
        ],
        axis=1,
    )


def _take_lines(images: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return evenly spaced rows, and then columns, of each channel of each image: float32[N, 3, lines, S]."""
    size = len(next(iter(images)))
    step = size // _LINES
    # Slices, which are faster than a list of places.
    places = slice(step // 2, step // 2 + _LINES * step, step)
    lines = np.empty((len(images), 3, 2 * _LINES, size), np.float32)
    for taken, pixels in zip(lines, images, strict=True):
        taken[:, :_LINES] = pixels[places].transpose(2, 0, 1)
        taken[:, _LINES:] = pixels[:, places].transpose(2, 1, 0)
    return lines


def _texture(lines: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the roughness at each of `LAGS`, float64[N, lags], and the share that is blank, float64[N]."""
    # Of three channels, so that exchanged ones have the same texture.
    brightness = lines[:, 0] + lines[:, 1]
    brightness += lines[:, 2]
    width = brightness.shape[2] - LAGS[-1]
    here = brightness[..., :width]
    largest = np.zeros_like(here)
    compared = here[0].size
    roughness = np.empty((len(lines), len(LAGS)))
    for place, lag in enumerate(LAGS):
        difference = brightness[..., lag : lag + width] - here
        np.abs(difference, out=difference)
        np.maximum(largest, difference, out=largest)
        roughness[:, place] = difference.reshape(len(lines), compared).sum(axis=1)
    return roughness / (3 * compared), 1 - np.count_nonzero(largest, axis=(1, 2)) / compared
