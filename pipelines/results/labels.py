"""Refuse the name of a label that a model does not have, with those that may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from pipelines.errors import ScenetagsError

_SHOWN = 20
_LONGEST_SHOWN = 100


class UnknownLabelError(ScenetagsError):
    """A label that the model of an output does not have."""


def check_label(
    name: str, labels: Sequence[str], place: str, written: Callable[[str], str] = str, whose: str = "the model"
) -> str:
    """Return a label of the model.

    Args:
      name: that is looked for.
      labels: of the model.
      place: where it is named, for the message.
      written: how a label is written there.
      whose: the labels are, for the message.

    Raises:
      UnknownLabelError: there is none of this name.
    """
    if name in labels:
        return name
    shown = name[:_LONGEST_SHOWN]
    # Of labels that differ only in case, the first is suggested.
    by_lower = {label.lower(): label for label in reversed(labels)}
    if near := difflib.get_close_matches(shown.lower(), by_lower, 3, 0.6):
        remedy = f"did you mean {' or '.join(written(by_lower[one]) for one in near)}?"
    else:
        remedy = f"use one of {some_labels(labels, _SHOWN)}"
    raise UnknownLabelError(f"{place}: {shown} is not a label of {whose}", remedy)


def some_labels(labels: Sequence[str], most: int) -> str:
    """Write the first labels, and how many more there are."""
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return f"{', '.join(labels[:most])}{more}"
