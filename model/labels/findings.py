"""Say what is amiss with label files and images, each in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipelines.errors import ScenetagsError

NAMES_SHOWN = 3

_LENGTH_SHOWN = 200


class LabelError(ScenetagsError):
    """A label file that cannot be used; the message is one line for the user."""


class Finding(NamedTuple):
    """Something amiss that did not stop us.

    Attributes:
      what: what it is and what became of it, in the plural.
      names: one for each case; a name may come again.
    """

    what: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.names)} {self.what}: {some_names(self.names)}"


def some_names(names: Iterable[str]) -> str:
    """Join the first few different names for a message."""
    different = list(dict.fromkeys(names))
    return ", ".join(map(shown, different[:NAMES_SHOWN])) + (", ..." if len(different) > NAMES_SHOWN else "")


def shown(text: str) -> str:
    """Show a cell, a name or a path in one line of bearable length, whatever it holds."""
    line = text if text.isprintable() and text else repr(text)
    return line if len(line) <= _LENGTH_SHOWN else f"{line[:_LENGTH_SHOWN]}..."
