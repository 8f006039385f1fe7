"""The parser shared by all commands, the types of flag values, and error reporting."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from pipelines.errors import ScenetagsError


class UsageError(ScenetagsError):
    """A command line that cannot be carried out."""


class Parser(argparse.ArgumentParser):
    """A parser that raises an error, where argparse prints several lines of usage and exits."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        """Create a parser that prints its help as written and accepts no abbreviated flags."""
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
          UsageError: always.
        """
        raise UsageError(f"{message} (see {self.prog} --help)")


def print_error(command: str, error: ScenetagsError) -> int:
    """Print an error to standard error in one line, and return the command's exit code."""
    print(f"{command}: {error}", file=sys.stderr)
    return error.exit_code


def add_switch(group: argparse._ActionsContainer, flag: str, help: str) -> None:
    """Add a boolean flag, true if given without a value; templates give every flag a value, `true` or `false`."""
    group.add_argument(flag, nargs="?", const=True, default=False, type=_read_switch, metavar="true|false", help=help)


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a flag type: a whole number within these bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small; the minimum is {least}")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"{value} is too large; the maximum is {most}")
        return value

    return read


def between(low: float, high: float) -> Callable[[str], float]:
    """Return a flag type: a number within these bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    return read


def _read_switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"
