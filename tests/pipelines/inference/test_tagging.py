"""Probabilities that become tags."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inference.rules import Rules, read_rules
from pipelines.inference.tagging import choose_tags


def test_a_tag_is_a_probability_at_or_above_its_threshold_in_the_written_precision() -> None:
    probabilities = np.array([[0.1, 0.5, 0.3], [0.0999, 0.0, 0.31]], np.float32)

    assert choose_tags(probabilities, ("a", "b", "c"), (0.1, 0.5, 0.31)) == [("a", "b"), ("c",)]


LABELS = ("a", "b", "c", "d")
SOME = st.lists(st.sampled_from(LABELS), unique=True).map(tuple)


def tags_by_hand(probabilities: Mapping[str, float], rules: Rules) -> tuple[str, ...]:
    """Choose the tags of one image as the documentation words it; the threshold is 0.5."""
    tags = [label for label in LABELS if probabilities[label] >= 0.5]
    for group in (*rules.exclusive, rules.alone):
        those = [tag for tag in tags if tag in group]
        best = max(those, key=lambda tag: (probabilities[tag], -LABELS.index(tag)), default=None)
        tags = [tag for tag in tags if tag not in group or tag == best]
    return tuple([tag for tag in tags if tag in rules.alone] or tags)


@given(
    st.lists(st.tuples(*[st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0))] * len(LABELS)), max_size=8),
    st.builds(Rules, st.lists(SOME, max_size=3).map(tuple), SOME),
)
def test_of_labels_that_exclude_one_another_the_most_probable_is_kept_and_some_stand_alone(
    probabilities: list[tuple[float, ...]], rules: Rules
) -> None:
    chosen = choose_tags(np.array(probabilities, np.float32).reshape(-1, len(LABELS)), LABELS, [0.5] * 4, rules)

    assert chosen == [tags_by_hand(dict(zip(LABELS, row, strict=True)), rules) for row in probabilities]
    assert read_rules(json.loads(json.dumps(rules.described())), LABELS) == rules


@pytest.mark.parametrize("described", [7, {}, {"exclusive": 1, "alone": []}, {"exclusive": [], "alone": ["x"]}])
def test_rules_that_are_none_are_refused(described: object) -> None:
    with pytest.raises(ValueError, match="rules"):
        read_rules(described, LABELS)
