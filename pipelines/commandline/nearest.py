"""Guess which flag was meant by one that a command does not know."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from pipelines.commandline import synonyms

_MOST = 3
_MISSPELT, _SIMILAR = 0.85, 0.7
"""Likeness, from 0 to 1, of a flag with a slip of the finger, and of one that may be meant."""


def find_nearest(flag: str, known: Iterable[str], *, sure: bool = False) -> Sequence[str]:
    """Return the flags that were probably meant, best first; none if none is near.

    Args:
      flag: as given, without a value.
      known: flags of the command.
      sure: whether to guess only where hardly anything else can be meant.
    """
    wanted = bare(flag)
    by_bare = {bare(name): name for name in known if name.startswith("--")}
    if same := [name for written, name in by_bare.items() if _singular(written) == _singular(wanted)]:
        return same[:1]
    if begun := [name for written, name in by_bare.items() if written.startswith(wanted)]:
        return begun[: 1 if sure else _MOST]
    if misspelt := _like(wanted, by_bare, _MISSPELT):
        return misspelt
    if meant := [by_bare[name] for name in synonyms.FLAGS.get(wanted, ()) if name in by_bare]:
        return meant[:_MOST]
    if sure:
        return []
    words = set(map(_singular, wanted.split("_")))
    if longer := [name for written, name in by_bare.items() if words <= set(map(_singular, written.split("_")))]:
        return longer[:_MOST]
    return _like(wanted, by_bare, _SIMILAR)


def _like(wanted: str, by_bare: Mapping[str, str], likeness: float) -> Sequence[str]:
    # With hyphens: otherwise a short name would have to be more alike than a long one.
    whole = {f"--{written}": name for written, name in by_bare.items()}
    return [whole[written] for written in difflib.get_close_matches(f"--{wanted}", whole, 1, likeness)]


def ask(near: Sequence[str]) -> str:
    """Return the question whether one of these flags was meant; empty if there are none."""
    *others, last = near or [""]
    return f"did you mean {', '.join(others)}{' or ' * bool(others)}{last}?" if last else ""


def bare(flag: str) -> str:
    """Return the words of a flag with underscores between them, as all flags are written."""
    return flag.lstrip("-").lower().replace("-", "_")


def _singular(word: str) -> str:
    return word.removesuffix("s")
