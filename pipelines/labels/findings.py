"""Describe what is wrong with label files and images, one line each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from pipelines.errors import ScenetagsError

NAMES_SHOWN = 3

_LENGTH_SHOWN = 200
# The noun of a finding, such as "rows": the first word that ends in s.
_PLURAL = re.compile(r"(\w)s\b")


class LabelError(ScenetagsError):
    """A label file that cannot be used; the message is one line for the user."""


class Finding(NamedTuple):
    """A problem that did not stop the run.

    Attributes:
      what: the problem and what was done about it, in the plural: "rows without tags, skipped".
      names: one per case; a name may occur more than once.
    """

    what: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        """Put the count first, and a few of the names after it."""
        what = _PLURAL.sub(r"\1", self.what, count=1) if len(self.names) == 1 else self.what
        return f"{len(self.names)} {what}: {some_names(self.names)}"


def some_names(names: Iterable[str]) -> str:
    """Join the first few different names for a message."""
    different = list(dict.fromkeys(names))
    return ", ".join(map(shown, different[:NAMES_SHOWN])) + (", ..." if len(different) > NAMES_SHOWN else "")


def shown(text: str) -> str:
    """Show a cell, a name or a path on one line of limited length, whatever it holds."""
    line = text if text.isprintable() and text else repr(text)
    return line if len(line) <= _LENGTH_SHOWN else f"{line[:_LENGTH_SHOWN]}..."
