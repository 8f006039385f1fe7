"""Say how far a share counted in a sample may be from that of all."""

from __future__ import annotations

import math
from dataclasses import dataclass

_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson_interval(hits: float, trials: int) -> Interval:
    """Return the 95 % confidence interval of a hit rate.

    Unlike the normal approximation, it is valid even without a single hit. E. B. Wilson, "Probable Inference, the Law
    of Succession, and Statistical Inference", Journal of the American Statistical Association 22 (1927).

    Raises:
      ValueError: there are no trials, or more hits than trials.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"not a hit rate: {hits} of {trials}")
    share, square = hits / trials, _NORMAL_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    reach = _NORMAL_95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    # At 0 and 1 the formula gives the share itself, apart from rounding.
    low = 0.0 if hits == 0 else min(share, middle - reach)
    return Interval(low, 1.0 if hits == trials else max(share, middle + reach))
