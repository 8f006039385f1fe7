"""The Markdown of model cards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Characters with a meaning in Markdown anywhere, and underscores that are not inside a word.
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$#]|(?<![^\W_])_|_(?![^\W_])")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lay out a table with its first column left-aligned and the others right-aligned."""
    for cells in (columns, ("---", *["---:"] * (len(columns) - 1)), *rows):
        yield f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """Escape a text for Markdown and put it on one line."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def number(value: float | None) -> str:
    """Round a measure; one that is undefined is a dash."""
    return "–" if value is None else f"{value:.3f}"
