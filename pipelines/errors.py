"""The one base of errors that a user can mend, and the exit codes with which commands end."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; after a signal it is 128 and the signal's number instead."""

    DONE = 0
    STOPPED = 1
    WRONG_USAGE = 2
    TOO_MANY_FAILURES = 3
    UNBALANCED = 4


class ScenetagsError(Exception):
    """Something that a user can mend; a command reports it in one line. Everything else is a bug of ours.

    What storage and archives cannot give is an `OSError` instead, as in Python itself: the image becomes a failure row,
    or the run stops.

    Attributes:
      message: what is wrong, with the value at fault.
      remedy: what to do about it; may be empty where the message says it all.
      exit_code: of the command that ends with the error.
    """

    exit_code: int = ExitCode.WRONG_USAGE

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Join message and remedy to the line that is printed."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message
