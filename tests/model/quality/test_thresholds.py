"""Thresholds that are tuned on some images hold on others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from model.quality import metrics, thresholds

LABELS = 12
SEEDS = 20


class Simulated(NamedTuple):
    """Images with their tags, and the probabilities that a model gives them."""

    truth: NDArray[np.bool_]
    probabilities: NDArray[np.float32]

    def halves(self) -> tuple[Simulated, Simulated]:
        middle = len(self.truth) // 2
        return (
            Simulated(self.truth[:middle], self.probabilities[:middle]),
            Simulated(self.truth[middle:], self.probabilities[middle:]),
        )

    def f2(self, threshold: float | NDArray[np.float64]) -> float:
        return metrics.fbeta_over_samples(self.truth, self.probabilities >= threshold)


def simulated(images: int, seed: int, bias: NDArray[np.float64] | float = 0.0) -> Simulated:
    """Draw images whose labels are between common and rare.

    Args:
      images: how many.
      seed: of the draw.
      bias: what the model adds to the true log-odds, one number or one a label; with 0 it is calibrated.
    """
    rng = np.random.default_rng(seed)
    log_odds = np.linspace(0.5, -8, LABELS) + rng.normal(0, 2.2, (images, LABELS))
    truth = rng.random(log_odds.shape) < 1 / (1 + np.exp(-log_odds))
    return Simulated(truth, (1 / (1 + np.exp(-log_odds - bias))).astype(np.float32))


def some_bias(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng([9, seed]).normal(0, 0.8, LABELS)


@pytest.mark.parametrize("images", [240, 2000])
def test_on_held_out_images_calibrated_alike_tuned_thresholds_equal_the_best_flat_one(images: int) -> None:
    gains = []
    for seed in range(SEEDS):
        tuning, held_out = simulated(images, seed).halves()
        tuned = thresholds.tune(tuning.truth, tuning.probabilities).each
        assert held_out.f2(tuned) > held_out.f2(0.5) + 0.02
        gains.append(held_out.f2(tuned) - held_out.f2(thresholds.best_flat(tuning.truth, tuning.probabilities)))
    # There is nothing to gain here; 120 images to tune on, and 120 to judge by, make a difference of 0.01 by chance.
    assert np.mean(gains) > -0.002
    assert min(gains) > -0.02


@pytest.mark.parametrize(("images", "least_gain"), [(240, 0.002), (2000, 0.005)])
def test_on_held_out_images_calibrated_differently_tuned_thresholds_beat_the_best_flat_one(
    images: int, least_gain: float
) -> None:
    gains = []
    for seed in range(SEEDS):
        tuning, held_out = simulated(images, seed, some_bias(seed)).halves()
        tuned = thresholds.tune(tuning.truth, tuning.probabilities).each
        assert held_out.f2(tuned) > held_out.f2(0.5) + 0.02
        gains.append(held_out.f2(tuned) - held_out.f2(thresholds.best_flat(tuning.truth, tuning.probabilities)))
    assert np.mean(gains) > least_gain
    assert min(gains) > -0.02


def test_the_threshold_of_an_overconfident_label_follows_its_probabilities() -> None:
    bias = np.zeros(LABELS)
    bias[2] = 1.5
    tuned = thresholds.tune(*simulated(4000, 1, bias))
    flat_shifted = 1 / (1 + np.exp(-np.log(tuned.flat / (1 - tuned.flat)) - 1.5))
    assert tuned.each[2] == pytest.approx(flat_shifted, abs=0.1)
    assert tuned.each[2] > max(np.delete(tuned.each, 2))


def test_rare_labels_stay_near_the_flat_threshold() -> None:
    distances: list[float] = []
    for seed in range(SEEDS):
        few = simulated(120, seed, some_bias(seed))
        tuned = thresholds.tune(*few)
        positives = few.truth.sum(axis=0)
        distances.extend(np.abs(tuned.each - tuned.flat)[(positives > 0) & (positives <= 3)])
    assert len(distances) > SEEDS
    assert np.median(distances) < 0.03
    assert max(distances) < 0.15


def test_a_label_without_positives_has_exactly_the_flat_threshold() -> None:
    truth, probabilities = simulated(300, 2, some_bias(2))
    truth[:, 4] = False
    tuned = thresholds.tune(truth, probabilities)
    assert tuned.each[4] == tuned.flat
    assert len(set(tuned.each)) > 1
    nothing = thresholds.tune(np.zeros_like(truth), probabilities)
    assert set(nothing.each) == {nothing.flat}


def test_a_higher_beta_lowers_the_thresholds() -> None:
    truth, probabilities = simulated(1000, 3)
    flat = [thresholds.tune(truth, probabilities, beta).flat for beta in (0.5, 1.0, 2.0)]
    assert flat == sorted(flat, reverse=True)
    assert len(set(flat)) == 3


def test_certain_predictions_leave_the_threshold_in_the_middle() -> None:
    truth = simulated(100, 4).truth
    tuned = thresholds.tune(truth, truth.astype(np.float32))
    np.testing.assert_allclose(tuned.each, 0.5, atol=0.03)


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 4)).flatmap(
        lambda shape: st.tuples(
            arrays.arrays(np.bool_, shape),
            arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)),
        )
    )
)
def test_thresholds_lie_strictly_between_0_and_1(case: tuple[NDArray[np.bool_], NDArray[np.float32]]) -> None:
    tuned = thresholds.tune(*case)
    assert tuned.each.shape == (case[0].shape[1],)
    assert 0 < tuned.flat < 1
    assert ((tuned.each > 0) & (tuned.each < 1)).all()
    assert 0 < thresholds.best_flat(*case) < 1


def test_the_best_flat_threshold_is_the_best_of_all() -> None:
    images = simulated(300, 5)
    best = images.f2(thresholds.best_flat(*images))
    assert all(best >= images.f2(threshold) for threshold in np.arange(1, 100) / 100)
    assert best >= images.f2(thresholds.tune(*images).flat)


def test_labels_that_are_not_judged_move_no_threshold_and_get_the_flat_one() -> None:
    images = simulated(200, 3, some_bias(3))
    judged = np.arange(LABELS) != 1
    tuned = thresholds.tune(images.truth & judged, images.probabilities, judged=judged)
    alone = thresholds.tune(images.truth[:, judged], images.probabilities[:, judged])
    np.testing.assert_array_equal(tuned.each[judged], alone.each)
    assert tuned.each[1] == tuned.flat == alone.flat


def test_a_probability_that_is_a_candidate_in_float32_is_a_tag() -> None:
    # 0.7 as float64 is above 0.7 as float32, in which prediction compares.
    [score] = thresholds._flat_curve(np.ones((1, 1), np.bool_), np.full((1, 1), 0.7, np.float32), np.array([0.7]), 2.0)
    assert score == 1
