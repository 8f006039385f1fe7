"""Recognize different spellings of one label, and choose among them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Unicode categories of control and format characters and of spaces.
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})


def tidy(text: str) -> str:
    """Trim a text and collapse its inner white space and control characters; if it has no visible ones, it is empty.

    Zero-width spaces and byte order marks within a text are kept: some scripts need characters like them.
    """
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        return ""
    return " ".join(_CONTROLS.sub(" ", text).split())


def key(label: str) -> str:
    """Return what all spellings of a label have in common.

    Source: canonical caseless matching, definition D145 in section 3.13 of the Unicode Standard.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", tidy(label)).casefold())


def choose(counts: Mapping[str, int], known: Sequence[str] = ()) -> dict[str, str]:
    """Map each spelling to the one chosen for its label: known, else most frequent, else alphabetically first.

    Args:
      counts: how many rows have each spelling.
      known: spellings to prefer; each maps to itself, even if two of them differ only in case.
    """
    chosen: dict[str, str] = {}
    for label in (*known, *sorted(counts, key=lambda label: (-counts[label], label))):
        chosen.setdefault(key(label), label)
    return {label: label if label in known else chosen[key(label)] for label in counts}


def describe(label: str, rows: int, chosen: str) -> str:
    """Describe which spelling was read as which, and in how many rows; in ASCII if the two look the same."""
    alike = unicodedata.normalize("NFC", label) == unicodedata.normalize("NFC", chosen)
    before, after = (ascii(label), ascii(chosen)) if alike else (label, chosen)
    return f"{before} ({rows} {'row' if rows == 1 else 'rows'}) into {after}"
