"""The one parser of all commands, the kinds of values that flags take, and how an error reaches the user."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from pipelines.errors import ScenetagsError


class UsageError(ScenetagsError):
    """A command line that cannot be carried out."""


class Parser(argparse.ArgumentParser):
    """A parser that raises where argparse prints its usage over several lines and exits."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        """Prepare a parser whose help is laid out as it is written, and that takes no abbreviations of flags."""
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


def report(command: str, error: ScenetagsError) -> int:
    """Print an error in one line to standard error, and return the exit code of the command that ends with it."""
    print(f"{command}: {error}", file=sys.stderr)
    return error.exit_code


def add_switch(group: argparse._ActionsContainer, flag: str, help: str) -> None:
    """Add a flag that says yes where it stands, and yes or no with a value: a template gives each of its flags one."""
    group.add_argument(flag, nargs="?", const=True, default=False, type=_read_switch, metavar="true|false", help=help)


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


def _read_switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"
