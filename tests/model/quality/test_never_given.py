"""Tags that are never given are named, with what is known of the reason."""

from __future__ import annotations

from model.quality.metrics import LabelScores
from model.quality.never_given import find_never_given, lay_out_never_given


def scores(label: str, support: int, predicted: int = 0) -> LabelScores:
    return LabelScores(label, support, predicted, None, None, None, 0.1)


LABELS = [scores("given", 0, 3), scores("a", 4), scores("b", 4), scores("c", 0), scores("d", 0), scores("e", 4)]


def test_each_has_the_first_reason_that_holds() -> None:
    assert find_never_given(LABELS, [0, 0, 9, 10, 0, 10]) == {
        "a": "no image to train on",
        "b": "fewer than 10 images to train on",
        "c": "no image measured",
        "d": "no image to train on",
        "e": "always below the threshold",
    }


def test_without_a_training_little_is_known() -> None:
    never_given = find_never_given(LABELS)
    assert lay_out_never_given(never_given) == (
        "3 tags never given, always below the threshold: a, b, e",
        "2 tags never given, no image measured: c, d",
    )
    assert lay_out_never_given({}) == ()
    (line,) = lay_out_never_given({f"l{label}": "why" for label in range(1032)})
    assert line.startswith("1,032 tags never given, why: l0, l1, ")
    assert line.endswith(", l29 and 1,002 more")
