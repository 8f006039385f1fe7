"""Read the flags of a command, and say in one line what is wrong with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn


class UsageError(ValueError):
    """A command line that cannot be carried out; the message is one line for the user."""


class Parser(argparse.ArgumentParser):
    """A parser that raises where argparse prints its usage over several lines and exits."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
          UsageError: always.
        """
        raise UsageError(f"{message} (see --help)")


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """Make a flag's type: a whole number that is not smaller than this, nor larger than that."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small, the least is {least}")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"{value} is too large, the most is {most}")
        return value

    return read


def between(low: float, high: float) -> Callable[[str], float]:
    """Make a flag's type: a number within these bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    return read
