"""What counts as a probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-3
"""By which a probability may lie outside of 0 to 1: kernels approximate the activation of the last layer."""


def are_probabilities(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return, for each row of values [..., L], whether all are from 0 to 1, but for rounding, and none is NaN."""
    sound: NDArray[np.bool_] = np.logical_and.reduce((values >= -_ROUNDING) & (values <= 1 + _ROUNDING), axis=-1)
    return sound
