"""Tell which spellings stand for one label, and choose among them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence


def tidy(text: str) -> str:
    """Drop the white space around a text, and make one space of any within."""
    return " ".join(text.split())


def key(label: str) -> str:
    """Give what all spellings of a label have in common.

    Source: canonical caseless matching, definition D145 in section 3.13 of the Unicode Standard.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", tidy(label)).casefold())


def choose(counts: Mapping[str, int], known: Sequence[str] = ()) -> dict[str, str]:
    """Choose for each spelling the one that stands for all: a known one, the most frequent, the alphabetically first.

    Args:
      counts: how many rows have each spelling.
      known: spellings to prefer; each stands for itself, even where two of them differ in capitals only.
    """
    chosen: dict[str, str] = {}
    for label in (*known, *sorted(counts, key=lambda label: (-counts[label], label))):
        chosen.setdefault(key(label), label)
    return {label: label if label in known else chosen[key(label)] for label in counts}


def describe(label: str, rows: int, chosen: str) -> str:
    """Say that the label of so many rows was read as another one, in ASCII where the two look the same."""
    alike = unicodedata.normalize("NFC", label) == unicodedata.normalize("NFC", chosen)
    before, after = (ascii(label), ascii(chosen)) if alike else (label, chosen)
    return f"{before} ({rows} {'row' if rows == 1 else 'rows'}) into {after}"
