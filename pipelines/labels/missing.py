"""Recognize texts that stand for a missing value."""

from __future__ import annotations

from pipelines.labels import spelling

# What pandas reads as missing, by default.
_MISSING = frozenset(
    (
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)


def is_missing(text: str) -> bool:
    """Return whether a text is blank, or what pandas and R write for a missing value."""
    return text.strip() in _MISSING or not spelling.tidy(text)
