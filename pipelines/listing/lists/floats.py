"""Read numbers as float64, unless the float64 would be another number than the text says."""

from __future__ import annotations

import math
import sys
from decimal import Decimal, InvalidOperation

# Characters without an exponent: a float64 holds any number of 15 digits.
_ALWAYS_EXACT = sys.float_info.dig


class InexactError(ValueError):
    """A value that its type cannot hold as it is written."""


def exact(text: str) -> float:
    """Read a number as the float64 that, written with as many digits, is the same number again.

    `0.1` has such a float64, and so has `0.1000000000000000056`, which is one written with more digits than needed.

    Raises:
      InexactError: there is none: it has more digits than a float64 holds, or is too large or too small.
      ValueError: it is no number.
    """
    value = float(text)
    if len(text) <= _ALWAYS_EXACT and "e" not in text and "E" not in text:
        return value
    try:
        written = Decimal(text)
    except InvalidOperation as error:  # its exponent alone is too large
        raise InexactError from error
    if not written.is_finite():
        return value
    if math.isfinite(value):
        # Next to a power of 2, the shortest text of a float64 is not the one rounded to as many digits.
        rounded = Decimal(f"{value:.{len(written.as_tuple().digits) - 1}e}")
        if written in (rounded, Decimal(repr(value))):
            return value
    raise InexactError
