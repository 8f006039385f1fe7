"""Find the tags that are never given, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from model.quality.metrics import LabelScores
from pipelines.errors import quantity
from pipelines.labels import shown

FEW_IMAGES = 10
"""Images to train on below which a network hardly learns what a label looks like."""

# Labels in a line: more than of a finding's names, as each is one that a user may wait for in vain.
_SHOWN = 30
_UNTRAINED = "no image to train on"
_UNMEASURED = "no image measured"
_FEW = f"fewer than {FEW_IMAGES} images to train on"
_BELOW = "always below the threshold"
_REMOVED = "always removed by the rules of the output where they reach the threshold"


def find_never_given(
    labels: Iterable[LabelScores], train_support: Sequence[int] | None = None, reached: Collection[str] = ()
) -> dict[str, str]:
    """Return the labels that no measured image was given as a tag, each with the reason.

    Args:
      labels: L scores, of labels that the model knows.
      train_support: number of training images with each label, L; None if it is not known.
      reached: labels whose probability reaches the threshold in a measured image.
    """
    scores = tuple(labels)
    supports = [None] * len(scores) if train_support is None else train_support
    return {
        of_label.label: _REMOVED if of_label.label in reached else _why(of_label, support)
        for of_label, support in zip(scores, supports, strict=True)
        if not of_label.predicted
    }


def lay_out_never_given(never_given: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each reason, with its labels."""
    by_reason: dict[str, list[str]] = {}
    for label, why in never_given.items():
        by_reason.setdefault(why, []).append(shown(label))
    return tuple(_line(why, names) for why, names in by_reason.items())


def _line(why: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{quantity(len(names), 'tag')} never given, {why}: {', '.join(names[:_SHOWN])}{more}"


def _why(scores: LabelScores, train_support: int | None) -> str:
    if train_support == 0:
        return _UNTRAINED
    if not scores.support:
        return _UNMEASURED
    if train_support is not None and train_support < FEW_IMAGES:
        return _FEW
    return _BELOW
