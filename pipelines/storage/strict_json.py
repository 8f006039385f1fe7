"""Read JSON without losing anything: a plain reader keeps only the last of two values with the same name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

_SHOWN = 60


class RepeatedNameError(ValueError):
    """A name that occurs twice in an object of JSON."""


def without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; an `object_pairs_hook`.

    Raises:
      RepeatedNameError: a name occurs twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise RepeatedNameError(f"the name {repeated[:_SHOWN]!a} occurs twice")
    return found
