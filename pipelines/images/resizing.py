"""Resize images to the square that a model takes.

Pillow has most of the filters. `bilinear16` is its bilinear filter with weights of 16 bits, which vector instructions
multiply in a quarter of the time; some samples differ from Pillow's by one level. `_by_numpy` defines it to the last
bit. The package cykooz-resizer is used in its place where it is installed and gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import quantity
from pipelines.images.layout import ImageTooLargeError

# The bytes of an image of mode RGB, its columns and rows, and those wanted.
_Resample = Callable[[bytes, int, int, int, int], NDArray[np.uint8]]
# Left, upper, right and lower edge of a part of an image, in pixels.
_Box = tuple[int, int, int, int]

# Pixels resized at a time, by copies of their bytes: a whole large image would not fit twice into its budget of memory.
_STRIP_PIXELS = 1 << 18
# Between the two directions, an image has as many pixels as its width times the rows of the result. Of an image of a
# million columns and one row, that would be more than fits in memory.
_MOST_BETWEEN = 64_000_000
# Bits of a weight without its sign, and of its fraction.
_WEIGHT_BITS, _MOST_FRACTION_BITS = 15, 21
# A product with a sample of 8 bits is exact in 32-bit floating point.
_EXACT_FRACTION_BITS = 16
# Pixels of the result per multiplication of matrices, which hold more zeros the more there are.
_PER_BLOCK = 16


# Of margins; the networks scale samples from -1 to 1, so that grey says least.
_MARGIN = 127


class _Block(NamedTuple):
    """Weights of some neighbouring pixels of the result.

    Attributes:
      first: the first of them.
      start: the first pixel of the image that counts.
      weights: float32 or float64 [pixels of the result, pixels of the image].
    """

    first: int
    start: int
    weights: NDArray[np.floating]


def to_square(image: Image.Image, size: int, resizing: str) -> NDArray[np.uint8]:
    """Resize an image to a square.

    Args:
      image: of mode RGB.
      size: columns and rows of the result.
      resizing: one of `RESIZINGS`.

    Returns:
      uint8[size, size, 3].

    Raises:
      ImageTooLargeError: a side is so long that `bilinear16` would take too much memory.
    """
    width, height = image.size
    if (width, height) == (size, size):
        return np.asarray(image)
    resize_filter, _, fit = resizing.partition("+")
    if fit == "crop":
        side = min(width, height)
        left, upper = (width - side) // 2, (height - side) // 2
        return _resize(image, (left, upper, left + side, upper + side), size, size, resize_filter)
    if fit == "pad" and width != height:
        columns, rows = (max(1, round(side * size / max(width, height))) for side in (width, height))
        square = np.full((size, size, 3), _MARGIN, np.uint8)
        left, upper = (size - columns) // 2, (size - rows) // 2
        whole = _resize(image, (0, 0, width, height), columns, rows, resize_filter)
        square[upper : upper + rows, left : left + columns] = whole
        return square
    return _resize(image, (0, 0, width, height), size, size, resize_filter)


def _resize(image: Image.Image, box: _Box, columns: int, rows: int, resize_filter: str) -> NDArray[np.uint8]:
    """Resize a part of an image to uint8 [rows, columns, 3]."""
    if resize_filter == "bilinear16":
        return _bilinear16(image, box, columns, rows)
    part = image if box == (0, 0, *image.size) else image.crop(box)
    return np.asarray(part.resize((columns, rows), Image.Resampling[resize_filter.upper()]))


def _bilinear16(image: Image.Image, box: _Box, columns: int, rows: int) -> NDArray[np.uint8]:
    left, upper, right, lower = box
    width, height = right - left, lower - upper
    longest = _MOST_BETWEEN // max(columns, rows)
    if max(width, height) > longest:
        raise ImageTooLargeError(
            f"{width} x {height} pixels: a side of more than {quantity(longest, 'pixel')} cannot be resized to "
            f"{max(columns, rows)}"
        )
    resample = _fastest()
    if width * height <= _STRIP_PIXELS:
        part = image if box == (0, 0, *image.size) else image.crop(box)
        return resample(part.tobytes(), width, height, columns, rows)
    # All columns are resized before all rows, and no column depends on another.
    step = max(1, _STRIP_PIXELS // height)
    strips = []
    for start in range(left, right, step):
        strip = image.crop((start, upper, min(start + step, right), lower))
        strips.append(resample(strip.tobytes(), strip.width, height, strip.width, rows))
    return resample(np.concatenate(strips, axis=1).tobytes(), width, rows, columns, rows)


@lru_cache(maxsize=1)
def _fastest() -> _Resample:
    compiled = _compiled()
    return compiled if compiled and _agrees(compiled) else _by_numpy


def _agrees(resample: _Resample) -> bool:
    """Return whether a function makes images smaller and larger as `_by_numpy` does: a new release might not."""
    width, height = 43, 50
    noise = bytes(number * number % 251 for number in range(3 * width * height))
    return all(
        np.array_equal(resample(noise, width, height, size, size), _by_numpy(noise, width, height, size, size))
        for size in (7, 45, 64)
    )


def _compiled() -> _Resample | None:
    try:
        from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
    except ImportError:
        return None
    options = ResizeOptions(ResizeAlg.convolution(FilterType.bilinear), use_alpha=False)

    def resample(data: bytes, width: int, height: int, columns: int, rows: int) -> NDArray[np.uint8]:
        resized = ImageData(columns, rows, PixelType.U8x3)
        # One for each call: threads would wait for one another.
        Resizer().resize(ImageData(width, height, PixelType.U8x3, data), resized, options)
        return np.frombuffer(resized.get_buffer(), np.uint8).reshape(rows, columns, 3)

    return resample


def _by_numpy(data: bytes, width: int, height: int, columns: int, rows: int) -> NDArray[np.uint8]:
    lines = np.frombuffer(data, np.uint8).reshape(height, width * 3)
    turned = _turn(_weigh(lines, rows))
    return _turn(_weigh(turned, columns)).reshape(rows, columns, 3)


def _turn(lines: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Swap rows and columns of pixels of three samples."""
    # Copying whole pixels takes half as long as copying samples.
    return np.ascontiguousarray(lines.view("V3").T).view(np.uint8)


def _weigh(lines: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Make a number of lines from others: uint8[length, samples] to uint8[size, samples]."""
    if len(lines) == size:
        return lines
    weighed = np.empty((size, lines.shape[1]), np.uint16)
    for first, start, weights in _blocks(len(lines), size):
        pixels, length = weights.shape
        sums = weights @ lines[start : start + length].astype(weights.dtype)
        sums += 0.5
        weighed[first : first + pixels] = sums
    return np.minimum(weighed, 255).astype(np.uint8)


@lru_cache(maxsize=16)
def _blocks(length: int, size: int) -> tuple[_Block, ...]:
    """Arrange the weights with which lines make others as small matrices."""
    starts, ends, weights, is_exact = _weights(length, size)
    step = max(1, _PER_BLOCK * size // max(length, size))
    blocks = []
    for first in range(0, size, step):
        of_block = range(first, min(first + step, size))
        start, end = starts[first], ends[of_block[-1]]
        matrix = np.zeros((len(of_block), end - start), np.float32 if is_exact else np.float64)
        for row, line in zip(matrix, of_block, strict=True):
            row[starts[line] - start : ends[line] - start] = weights[line, : ends[line] - starts[line]]
        blocks.append(_Block(first, start, matrix))
    return tuple(blocks)


def _weights(length: int, size: int) -> tuple[list[int], list[int], NDArray[np.float64], bool]:
    """Compute the weights with which lines make others.

    A line counts if it lies within one line of the result, or of the image if these are farther apart, and the less the
    farther away it is.

    Returns:
      Of each line of the result, the first line that counts, the one behind the last, and the weights of these and of
      some behind them, float64[size, any]; and whether products with samples are exact in float32.
    """
    scale = length / size
    reach = max(1.0, scale)
    centres = (np.arange(size) + 0.5) * scale
    starts = np.maximum(centres - reach, 0).astype(np.int64)
    ends = np.minimum(np.ceil(centres + reach), length).astype(np.int64)
    lines = starts[:, None] + np.arange((ends - starts).max())
    weights = np.maximum(0, 1 - abs(lines - (centres[:, None] - 0.5)) * (1 / reach))
    weights[lines >= ends[:, None]] = 0
    # Added one by one, as a loop does: the last bit can decide how a weight is rounded.
    weights /= weights.cumsum(axis=1)[:, -1:]
    bits = 0
    while bits < _MOST_FRACTION_BITS and np.floor(weights.max() * 2 ** (bits + 1) + 0.5) < 2**_WEIGHT_BITS:
        bits += 1
    rounded = np.floor(weights * 2**bits + 0.5) / 2**bits
    return starts.tolist(), ends.tolist(), rounded, bits <= _EXACT_FRACTION_BITS
