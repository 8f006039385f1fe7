"""Numbers that flags take: their ranges, and what is said of a value outside."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from typing import Any

_GROUPED = re.compile(r"\d{1,3}(,\d{3})+", re.ASCII)
_MANY = 10**9


@dataclass(frozen=True)
class Range:
    """A flag type: finite numbers within bounds, which are among them.

    Attributes:
      least: bound from below.
      most: bound from above.
      whole: whether only whole numbers are meant.
      above: whether `least` itself is not among them.
      word: that may stand in place of a number; it is read as None.
      example: a number that is often meant, where the bounds do not suggest one.
    """

    least: float = -math.inf
    most: float = math.inf
    whole: bool = False
    above: bool = False
    word: str = ""
    example: str = ""

    def __call__(self, text: str) -> Any:
        """Read a value.

        Raises:
          ArgumentTypeError: it is not within the range.
        """
        if self.word and text == self.word:
            return None
        number = self._read(text)
        if number is None:
            raise argparse.ArgumentTypeError(f"not {self}")
        return number

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a finite number" if math.isinf(self.most) else "a number"
        if math.isinf(self.least):
            bounds = ""
        elif math.isinf(self.most):
            bounds = f" above {self.least:,g}" if self.above else f" of at least {self.least:,g}"
        else:
            low = f"above {self.least:,g} and up to" if self.above else f"from {spelled(self.least, ',')} to"
            bounds = f" {low} {spelled(self.most, ',')}"
        return f"{kind}{bounds}{f', or {self.word}' * bool(self.word)}"

    def holds(self, number: float) -> bool:
        """Return whether a number is within the range."""
        is_low = number > self.least if self.above else number >= self.least
        return is_low and number <= self.most and math.isfinite(number)

    def hint(self, text: str) -> str:
        """Return what to write in place of a value that is not within the range; empty if the bounds say it all."""
        spellings = [text.replace(",", "")] if _GROUPED.fullmatch(text) else [text.replace(",", ".")]
        if self.whole and (number := _number(text)) is not None and number.is_integer():
            # As 1e3.
            spellings.append(str(int(number)))
        meant = next((f"write {one}" for one in spellings if one != text and self._read(one) is not None), "")
        return meant or (f"write e.g. {self.example}" if self.example else "")

    def _read(self, text: str) -> float | None:
        number = _whole(text) if self.whole else _number(text)
        return number if number is not None and self.holds(number) else None


SHARE = Range(0, 1)
"""A share of all, or a probability."""


def at_least(least: int, most: int = _MANY) -> Range:
    """Return a flag type: a whole number within these bounds."""
    return Range(least, most, whole=True)


def between(low: float, high: float) -> Range:
    """Return a flag type: a number within these bounds."""
    return Range(low, high)


def spelled(number: float, group: str = "") -> str:
    """Return the shortest text that is read as the same number, e.g. `0`, `0.5` or `1e+30`.

    Args:
      number: to be written.
      group: what separates thousands of a whole number, or nothing.
    """
    shortest = repr(number).removesuffix(".0")
    return f"{int(shortest):{group}}" if shortest.isdecimal() else shortest


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
