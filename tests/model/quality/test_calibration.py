"""A correction is found again where there is one, does no harm where there is none, and is not flattered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from model.quality import calibration, metrics, reliability


def sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32)


def drawn(images: int, labels: int = 8, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Draw log-odds that can be taken at their word, and what then comes true."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(rng.uniform(-2, 1, labels), 2.0, (images, labels))
    return rng.random(log_odds.shape) < sigmoid(log_odds), log_odds


def test_temperature_and_biases_are_found_again() -> None:
    truth, log_odds = drawn(2000)
    biases = np.linspace(-1, 1, log_odds.shape[1])
    found = calibration.fit(truth, sigmoid((log_odds - biases) * 1.8))
    assert found.correction.temperature == pytest.approx(1.8, rel=0.05)
    np.testing.assert_allclose(found.correction.biases, biases, atol=0.2)


def test_labels_with_few_images_have_no_bias_of_their_own() -> None:
    truth, log_odds = drawn(400)
    truth[:, 0] = np.arange(400) < calibration.MIN_IMAGES - 1
    truth[:, 1] = np.arange(400) >= calibration.MIN_IMAGES - 1
    truth[:, 2] = False
    found = calibration.fit(truth, sigmoid(log_odds - 1))
    assert found.enough.tolist() == [False] * 3 + [True] * 5
    assert found.own_biases
    common, *own = found.correction.biases[2:]
    assert found.correction.biases[:2].tolist() == [common, common]
    assert np.abs(np.array(own) - common).min() > 1e-3


def test_labels_that_are_not_judged_say_nothing_and_share_the_common_bias() -> None:
    truth, log_odds = drawn(400)
    probabilities = sigmoid(log_odds * 1.5 - 1)
    judged = np.arange(8) != 2
    alone = calibration.fit(truth[:, judged], probabilities[:, judged])
    found = calibration.fit(truth & judged, probabilities, judged)
    assert found.correction.temperature == alone.correction.temperature
    np.testing.assert_array_equal(found.correction.biases[judged], alone.correction.biases)
    assert found.correction.biases[2] == pytest.approx(np.mean(alone.correction.biases), abs=0.3)
    assert not found.enough[2]


def test_what_is_fitted_minimizes_the_penalized_loss() -> None:
    truth, log_odds = drawn(60, labels=3)
    pulls = np.array([1.0, 5.0, calibration._COMMON_BIAS])
    found = calibration._minimize(log_odds, truth, pulls, np.ones(3, np.bool_))

    def penalized(scale: float, common: float, differences: NDArray[np.float64]) -> float:
        moved = scale * log_odds + common + differences
        loss = np.log1p(np.exp(moved)) - truth * moved
        return float(loss.sum() + 5 * (scale - 1) ** 2 + 5 * common**2 + (pulls / 2 * differences**2).sum())

    scale, common = 1 / found.temperature, found.biases[2]
    differences = found.biases - common
    least = penalized(scale, common, differences)
    for step in (-0.01, 0.01):
        assert penalized(scale + step, common, differences) > least
        assert penalized(scale, common + step, differences) > least
        for label in range(2):
            assert penalized(scale, common, differences + step * np.eye(3)[label]) > least


@pytest.mark.parametrize("seed", range(3))
def test_the_cross_fitted_error_does_not_flatter(seed: int) -> None:
    # Of 60 images the loss on the very images that were fitted is lower than on others.
    truth, log_odds = drawn(60, seed=seed)
    found = calibration.fit(truth, sigmoid(log_odds * 2))
    fitted = found.correction.apply(sigmoid(log_odds * 2))
    cross_fitted = metrics.binary_crossentropy(truth, found.cross_fitted(fitted))
    assert cross_fitted > metrics.binary_crossentropy(truth, fitted)
    assert cross_fitted < metrics.binary_crossentropy(truth, sigmoid(log_odds * 2))


def test_each_image_is_cross_fitted_without_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_PULLS", (3.0,))
    truth, log_odds = drawn(50, labels=2)
    found = calibration.fit(truth, sigmoid(log_odds * 3))
    for fold, images in enumerate(calibration._folds(50)):
        other = truth.copy()
        other[images[0]] = ~other[images[0]]
        again = calibration.fit(other, sigmoid(log_odds * 3))
        assert again.correction.temperature != found.correction.temperature
        kept = [at for at in range(5) if again.without_fold[at].temperature == found.without_fold[at].temperature]
        assert kept == [fold]


def test_a_network_that_gives_nan_is_refused_in_one_line() -> None:
    truth, log_odds = drawn(60)
    probabilities = sigmoid(log_odds)
    probabilities[[3, 5], 2] = np.nan
    with pytest.raises(calibration.NotANumberError) as refused:
        calibration.fit(truth, probabilities)
    assert str(refused.value).startswith("the network returns NaN for 2 of 60 held-out images")


@given(
    arrays.arrays(np.float32, (7, 3), elements=st.floats(0, 1, width=32)),
    arrays.arrays(np.bool_, (7, 3)),
    st.integers(1, 7),
)
@settings(max_examples=40)
def test_any_few_images_give_a_finite_correction_that_keeps_the_order(
    probabilities: NDArray[np.float32], truth: NDArray[np.bool_], images: int
) -> None:
    truth, probabilities = truth[:images], probabilities[:images]
    found = calibration.fit(truth, probabilities)
    corrected = found.correction.apply(probabilities)
    assert 0.1 < found.correction.temperature <= 20
    for label in range(3):
        order = np.argsort(probabilities[:, label], kind="stable")
        assert (np.diff(corrected[order, label]) >= 0).all()
    for result in (corrected, found.uncalibrated(corrected), found.cross_fitted(corrected)):
        assert np.isfinite(result).all()
        assert ((result >= 0) & (result <= 1)).all()


def test_what_is_corrected_can_be_undone() -> None:
    truth, log_odds = drawn(300)
    before = sigmoid(log_odds * 2)
    found = calibration.fit(truth, before)
    assert found.correction.temperature > 1.5
    np.testing.assert_allclose(found.uncalibrated(found.correction.apply(before)), before, atol=1e-5)


def test_probabilities_that_are_right_are_left_about_as_they_are() -> None:
    truth, log_odds = drawn(2000)
    before = sigmoid(log_odds)
    corrected = calibration.fit(truth, before).correction.apply(before)
    assert np.abs(corrected - before).mean() < 0.01
    assert reliability.measure(truth, corrected).expected_calibration_error < 0.02


def test_noise_is_not_corrected() -> None:
    # One image cannot be measured without itself, and coins give no more than 0.5.
    truth, log_odds = drawn(1)
    coins = np.random.default_rng(0).permutation(100)[:, None] < 50
    fitted = calibration.fit(truth, sigmoid(log_odds)), calibration.fit(coins, np.full((100, 1), 0.5, np.float32))
    for found in fitted:
        assert found.correction.temperature == 1
        assert not found.correction.biases.any()
