"""Images held out to validate on carry every label, as often as it can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.data import split

pytest.importorskip("iterstrat")


def draw_targets(count: int, frequencies: list[float], seed: int = 0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).random((count, len(frequencies))) < frequencies).astype(np.float32)


def test_a_split_is_whole_and_the_same_for_a_seed() -> None:
    targets = draw_targets(50, [0.9, 0.5, 0.1])
    drawn = split.stratified(targets, 0.2, seed=4)
    assert sorted([*drawn.train, *drawn.validation]) == list(range(50))
    np.testing.assert_array_equal(drawn.validation, split.stratified(targets, 0.2, seed=4).validation)
    assert drawn.validation.tolist() != split.stratified(targets, 0.2, seed=5).validation.tolist()


def test_each_label_is_as_frequent_among_the_held_out_as_among_all() -> None:
    targets = draw_targets(2000, [0.9, 0.5, 0.1, 0.02, 0.005])
    drawn = split.stratified(targets, 0.2, seed=0)
    assert len(drawn.validation) == pytest.approx(400, abs=3)
    held_out, every = targets[drawn.validation].sum(axis=0), targets.sum(axis=0)
    np.testing.assert_allclose(held_out, every * 0.2, atol=2)


@pytest.mark.parametrize("seed", range(5))
def test_rare_labels_are_on_both_sides(seed: int) -> None:
    targets = draw_targets(200, [0.9, 0.5], seed)
    rare = np.zeros((200, 4), np.float32)
    for label, carriers in enumerate(([3, 77], [5, 78, 79], [9], [3, 5, 120, 121])):
        rare[carriers, label] = 1
    drawn = split.stratified(np.concatenate([targets, rare], axis=1), 0.2, seed)
    held_out = rare[drawn.validation].sum(axis=0)
    assert held_out[[0, 1, 3]].tolist() == [1, 1, 1]
    assert held_out[2] == 0, "a label of a single image is trained on"


@given(st.integers(2, 40), st.integers(1, 5), st.floats(0.01, 0.9), st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_any_targets_are_split_in_two(count: int, labels: int, fraction: float, seed: int, frequency: float) -> None:
    targets = draw_targets(count, [frequency] * labels, seed)
    drawn = split.stratified(targets, fraction, seed)
    assert sorted([*drawn.train, *drawn.validation]) == list(range(count))
    assert len(drawn.train)
    assert len(drawn.validation)


def test_labels_that_share_their_only_two_images_are_spread_together() -> None:
    targets = np.zeros((20, 3), np.float32)
    targets[:, 0] = 1
    targets[[4, 5], 1:] = 1
    drawn = split.stratified(targets, 0.2, seed=1)
    assert targets[drawn.validation].sum(axis=0).tolist()[1:] == [1, 1]


def test_one_example_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="1 example cannot be split"):
        split.stratified(np.ones((1, 2), np.float32), 0.2, seed=0)
