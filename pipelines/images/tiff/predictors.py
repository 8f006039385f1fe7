"""Undo what was done to samples before they were compressed, where libtiff would not know of all bands.

It is described a single band that has the samples of all; TIFF 6.0, section 14, and Adobe's technical note 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HORIZONTAL, FLOATING = 2, 3


def undo(stored: NDArray[Any], predictor: int, columns: int, order: str) -> NDArray[Any]:
    """Return the samples of which these were made.

    Args:
      stored: [rows, width, bands], of whole strips or tiles.
      predictor: one of the two, as files number them; the latter is that of floating-point numbers of 32 bits.
      columns: of a strip or tile.
      order: of the bytes in the file, as `struct` names it.
    """
    samples = np.empty_like(stored)
    for left in range(0, stored.shape[1], columns):
        piece = slice(left, left + columns)
        undone = _sum_up(stored[:, piece]) if predictor == HORIZONTAL else _join_bytes(stored[:, piece], order)
        samples[:, piece] = undone
    return samples


def _sum_up(differences: NDArray[Any]) -> NDArray[Any]:
    """Sum up the differences along each row; they wrap around, and those of other numbers are those of their bits."""
    bits = differences.view(differences.dtype.str.replace("f", "u"))
    # Sums are in the machine's order of bytes.
    sums = np.cumsum(bits, axis=1, dtype=bits.dtype).astype(bits.dtype, copy=False)
    return sums.view(differences.dtype)


def _join_bytes(stored: NDArray[Any], order: str) -> NDArray[Any]:
    """Sum up the bytes of each row, of which the highest of all samples come first, and join those of a sample."""
    rows, columns, bands = stored.shape
    written = stored.view(np.uint32).astype(f"{order}u4").view(np.uint8)
    sums = np.cumsum(written.reshape(rows, -1, bands), axis=1, dtype=np.uint8).reshape(rows, 4, columns * bands)
    return np.ascontiguousarray(sums.transpose(0, 2, 1)).view(">f4").reshape(stored.shape)


def apply_floating(samples: NDArray[Any]) -> bytes:
    """Write each row of numbers as `undo` reads them; `samples` are [rows, columns, bands]."""
    rows, columns, bands = samples.shape
    planes = samples.astype(">f4").view(np.uint8).reshape(rows, columns * bands, 4).transpose(0, 2, 1)
    return np.diff(planes.reshape(rows, -1, bands), axis=1, prepend=np.uint8(0)).tobytes()
