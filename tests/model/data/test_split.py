"""Images held out to validate on carry every label, as often as it can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.data import split


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
    assert held_out[:2].tolist() == [1, 1]
    assert held_out[3] in (1, 2)
    assert held_out[2] == 0, "a label of a single image is trained on"


@given(st.integers(2, 40), st.integers(1, 5), st.floats(0.01, 0.9), st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_any_targets_are_split_in_two(count: int, labels: int, fraction: float, seed: int, frequency: float) -> None:
    targets = draw_targets(count, [frequency] * labels, seed)
    drawn = split.stratified(targets, fraction, seed)
    assert sorted([*drawn.train, *drawn.validation]) == list(range(count))
    assert len(drawn.train)
    assert len(drawn.validation)
    wanted = max(count * fraction, 1)
    assert abs(len(drawn.validation) - wanted) <= max(1.5, 0.1 * wanted + 0.5)


def with_rare_labels(count: int, rare: int, most: int, seed: int) -> NDArray[np.float32]:
    """Draw three frequent labels, and rare ones of up to `most` examples each."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((count, 3 + rare), np.float32)
    targets[:, :3] = rng.random((count, 3)) < [0.9, 0.5, 0.2]
    for label in range(3, 3 + rare):
        targets[rng.choice(count, rng.integers(1, most + 1), replace=False), label] = 1
    return targets


@pytest.mark.parametrize(
    ("count", "rare", "fraction", "bounds", "share_on_both_sides"),
    [(24, 20, 0.5, (11, 13), 0.8), (400, 297, 0.2, (72, 88), 0.9)],
)
def test_the_share_held_out_is_kept_however_many_rare_labels_there_are(
    count: int, rare: int, fraction: float, bounds: tuple[int, int], share_on_both_sides: float
) -> None:
    targets = with_rare_labels(count, rare, 5, seed=0)
    drawn = split.stratified(targets, fraction, seed=0)
    assert bounds[0] <= len(drawn.validation) <= bounds[1]
    several = targets.sum(axis=0) >= 2
    both = (targets[drawn.train].sum(axis=0) > 0) & (targets[drawn.validation].sum(axis=0) > 0)
    assert both[several].mean() > share_on_both_sides


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_on_one_side_and_the_share_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.unique(rng.integers(0, 60, 500), return_inverse=True)[1]
    targets = with_rare_labels(500, 5, 9, seed)
    drawn = split.stratified(targets, 0.2, seed, groups)
    assert not set(groups[drawn.train]) & set(groups[drawn.validation])
    assert 90 <= len(drawn.validation) <= 110
    held_out, every = targets[drawn.validation].sum(axis=0), targets.sum(axis=0)
    np.testing.assert_allclose(held_out[:3], every[:3] * 0.2, atol=12)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=12), st.floats(0.01, 0.9), st.integers(0, 9))
def test_groups_of_any_sizes_are_split_in_two(sizes: list[int], fraction: float, seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    drawn = split.stratified(draw_targets(len(groups), [0.5, 0.1], seed), fraction, seed, groups)
    assert sorted([*drawn.train, *drawn.validation]) == list(range(len(groups)))
    assert len(drawn.train)
    assert len(drawn.validation)
    assert not set(groups[drawn.train]) & set(groups[drawn.validation])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("known", "bounds"), [(100, (90, 110)), (400, (90, 100)), (470, (27, 30)), (499, (1, 1))], ids=str
)
def test_the_share_held_out_is_drawn_from_what_is_not_known(seed: int, known: int, bounds: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    targets = with_rare_labels(500, 20, 9, seed)
    trained = rng.choice(500, known, replace=False)
    drawn = split.stratified(targets, 0.2, seed, trained=trained)
    assert not set(trained) & set(drawn.validation)
    assert sorted([*drawn.train, *drawn.validation]) == list(range(500))
    assert bounds[0] <= len(drawn.validation) <= bounds[1]
    if known == 100:
        held_out, every = targets[drawn.validation].sum(axis=0), targets.sum(axis=0)
        np.testing.assert_allclose(held_out[:3], every[:3] * 0.2, atol=12)


def test_a_new_label_is_learnt_even_where_all_that_is_new_would_be_held_out() -> None:
    targets = np.zeros((100, 3), np.float32)
    targets[:, 0] = 1
    targets[80:90, 1] = targets[85:, 2] = 1
    drawn = split.stratified(targets, 0.2, seed=0, trained=np.arange(80))
    assert (targets[drawn.train].sum(axis=0) > 0).all()
    assert 18 <= len(drawn.validation) <= 20


def test_labels_that_share_their_only_two_images_are_spread_together() -> None:
    targets = np.zeros((20, 3), np.float32)
    targets[:, 0] = 1
    targets[[4, 5], 1:] = 1
    drawn = split.stratified(targets, 0.2, seed=1)
    assert targets[drawn.validation].sum(axis=0).tolist()[1:] == [1, 1]


def test_one_example_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="a single group of images cannot be split"):
        split.stratified(np.ones((1, 2), np.float32), 0.2, seed=0)
