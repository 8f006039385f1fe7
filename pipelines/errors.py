"""The base class of errors a user can fix, the exit codes of all commands, and how text and counts are printed."""

from __future__ import annotations

import unicodedata
from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; after a signal, the exit code is 128 plus the signal's number instead."""

    DONE = 0
    STOPPED = 1
    WRONG_USAGE = 2
    TOO_MANY_FAILURES = 3
    TOO_MANY_CHANGES = 3
    UNLIKE_TRAINING = 3
    NOTHING_TAGGED = 3
    UNBALANCED = 4


class ScenetagsError(Exception):
    """An error a user can fix; a command reports it in one line. Any other error is a bug in scenetags.

    Storage and archives raise an `OSError` instead, as Python itself does: the image becomes a failure row, or the run
    stops.

    Attributes:
      message: what is wrong, with the value at fault.
      remedy: what to do about it; empty if the message says it all.
      exit_code: of the command that ends with the error.
    """

    exit_code: int = ExitCode.WRONG_USAGE

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Join message and remedy into the line that is printed."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class StillRunningError(ScenetagsError):
    """A job that may still be running on a distributed runner, and write to its output, with nobody waiting for it."""

    exit_code = ExitCode.STOPPED


def printable(text: str) -> str:
    r"""Escape what could control a terminal or change the order of what it shows, e.g. as `\x1b` or `\u202e`."""
    if text.isprintable():
        return text
    # Spaces of other widths are part of honest names.
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def quantity(number: int, one: str, many: str = "") -> str:
    """Return a count with what is counted: `1 image`, `2,000 images`.

    Args:
      number: how many.
      one: the words for one of them, such as `image` or `image is`.
      many: the words for any other number; by default the former with an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
