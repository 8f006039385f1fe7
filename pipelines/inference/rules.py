"""Rules for tags beyond their thresholds: which exclude one another, and which stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Rules(NamedTuple):
    """What an image's tags must comply with. The groups are applied first, in their order.

    Attributes:
      exclusive: groups of labels; of those in a group that reach their thresholds, only the most probable is a tag.
      alone: labels that admit no other tag; of several that reach their thresholds, only the most probable is one.
    """

    exclusive: tuple[tuple[str, ...], ...] = ()
    alone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.exclusive or self.alone)

    def __str__(self) -> str:
        flags = [f"--exclusive {','.join(map(_quoted, group))}" for group in self.exclusive]
        return " ".join([*flags, *(f"--alone {label}" for label in self.alone)])

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"exclusive": [list(group) for group in self.exclusive], "alone": list(self.alone)}

    def unknown(self, labels: Sequence[str]) -> list[str]:
        """Name the labels in it that are none of a model's."""
        named = (*(label for group in self.exclusive for label in group), *self.alone)
        return [label for label in dict.fromkeys(named) if label not in labels]


NO_RULES = Rules()
"""Each label is a tag where its probability reaches its threshold."""


def read_rules(described: Any, labels: Sequence[str]) -> Rules:
    """Return rules from JSON.

    Raises:
      ValueError: they are malformed, or name a label that is none of these.
    """
    try:
        rules = Rules(tuple(tuple(group) for group in described["exclusive"]), tuple(described["alone"]))
        unknown = rules.unknown(labels)
    except (TypeError, KeyError) as error:
        raise ValueError("not rules") from error
    if unknown:
        raise ValueError(f"rules for {unknown[0]!r}, which is not a label")
    return rules


def _quoted(label: str) -> str:
    return '"{}"'.format(label.replace('"', '""')) if "," in label or label.startswith('"') else label
