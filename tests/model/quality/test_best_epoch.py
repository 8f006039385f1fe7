"""Which epoch is kept."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.quality.best_epoch import best_epoch, standard_error
from model.quality.history import Epoch


def epochs(phase: str, *scores: float, first: int = 1) -> list[Epoch]:
    """Make epochs with these F2 scores; NaN stands for one that has diverged."""
    return [
        Epoch(phase, number, 1e-3, score, score, score, 0.5, 1.0) for number, score in enumerate(scores, start=first)
    ]


def test_the_best_epoch_is_the_last_of_the_best_over_all_phases() -> None:
    history = epochs("head", 0.5, 0.8) + epochs("fine-tuning", 0.7, 0.8, 0.6, first=3)
    assert best_epoch(history) == history[3]
    assert best_epoch(history[:3]) == history[1]
    assert best_epoch(epochs("head", math.nan, 0.1, math.nan)) == epochs("head", math.nan, 0.1)[1]
    assert best_epoch(epochs("head", math.nan)) is None


def test_a_later_epoch_is_kept_where_an_earlier_one_may_be_better_by_chance() -> None:
    history = epochs("fine-tuning", 0.80, 0.90, 0.893, 0.88)
    assert best_epoch(history, 0.01) == history[2]
    assert best_epoch(history, 0.001) == history[1]
    assert standard_error(100) == pytest.approx(0.01)
    head_first = epochs("head", 0.895) + epochs("fine-tuning", 0.90, 0.893, first=2)
    assert best_epoch(head_first, 0.01) == head_first[1], "not below the head, be it by chance"
    head_slipped = epochs("head", 0.900, 0.8925) + epochs("fine-tuning", 0.893, first=3)
    assert best_epoch(head_slipped, 0.01) == head_slipped[1], "nor below the best of the head"


@given(st.lists(st.sampled_from([0.5, 0.6, 0.61, 0.62, 0.7, math.nan]), max_size=12), st.integers(0, 12))
def test_the_kept_epoch_is_the_one_before_or_the_newest(scores: list[float], change: int) -> None:
    # On this rests that the files of all other epochs can go.
    history = epochs("head", *scores[:change]) + epochs("fine-tuning", *scores[change:], first=change + 1)
    kept = [best_epoch(history[:end], 0.015) for end in range(len(history) + 1)]
    for end, (before, after) in enumerate(itertools.pairwise(kept)):
        assert after in (before, history[end])
