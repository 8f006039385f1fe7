"""Attacks on the promises of `docs/guarantees.md`, by room; `python -m tools.attack` runs them.

Each module has its `ATTACKS`. An attack that takes less than a second is a test instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    """What an attack achieved.

    Attributes:
      held: whether the promise held.
      what: was seen, in a few words and figures.
    """

    held: bool
    what: str


@dataclass(frozen=True)
class Attack:
    """An attempt to break a promise.

    Attributes:
      name: identifies it on the command line.
      attempt: what is done.
      promise: what must hold nevertheless.
      run: does it in an empty folder.
    """

    name: str
    attempt: str
    promise: str
    run: Callable[[Path], Seen]
