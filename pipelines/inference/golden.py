"""Read golden pairs: a few inputs of a model, and its outputs for them at the time of export."""

from __future__ import annotations

import io
import zipfile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import quantity
from pipelines.inference.probabilities import are_probabilities

_LARGEST = 1 << 29
"""Bytes of the inflated arrays; 8 images of 4,096 px take 400 MB."""


class Golden(NamedTuple):
    """A few inputs and the model's outputs for them at the time of export.

    Attributes:
      pixels: uint8[N, S, S, 3].
      probabilities: float32[N, L], 0 to 1.
    """

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


class UnfitError(ValueError):
    """Golden pairs that are not those of the model; the message says why."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_golden(archive: bytes, image_size: int, labels: int) -> Golden:
    """Read golden pairs from an NPZ file, once their headers say that they are what they should be.

    Args:
      archive: the file's bytes.
      image_size: columns and rows that the model takes.
      labels: number of its outputs.

    Raises:
      UnfitError: they do not match image size and labels, are too large, or are no probabilities.
      Exception: the file is no archive of arrays; NumPy and the zip module raise a dozen types for that.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        pixels, probabilities = (_read_header(members, name) for name in Golden._fields)
        problem = _find_problem(pixels, probabilities, image_size, labels)
        if problem:
            raise UnfitError(problem)
        golden = Golden(*(_read_array(members, name) for name in Golden._fields))
    if not are_probabilities(golden.probabilities).all():
        lowest, highest = golden.probabilities.min(), golden.probabilities.max()
        raise UnfitError(f"have outputs from {lowest:g} to {highest:g}, which are no probabilities")
    return golden


def _read_header(members: zipfile.ZipFile, name: str) -> _Header:
    with members.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return _Header(shape, dtype)


def _find_problem(pixels: _Header, probabilities: _Header, image_size: int, labels: int) -> str | None:
    if pixels.dtype != np.uint8 or probabilities.dtype != np.float32:
        return "must be uint8 and float32"
    pairs = pixels.shape[0] if pixels.shape else 0
    expected = (pairs, image_size, image_size, 3), (pairs, labels)
    if pairs < 1 or (pixels.shape, probabilities.shape) != expected:
        return (
            f"of shapes {pixels.shape} and {probabilities.shape} do not match image size {image_size} and "
            f"{quantity(labels, 'label')}"
        )
    if pairs * (image_size * image_size * 3 + labels * 4) > _LARGEST:
        return f"are too many: {pairs:,} of {image_size} px"
    return None


def _read_array(members: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with members.open(f"{name}.npy") as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
