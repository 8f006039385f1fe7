"""Each loss is the formula that it is documented to be."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from model.quality import metrics
from model.training import losses
from model.training.losses import EXPONENT, MARGIN, MOST_WEIGHT, Loss

FREQUENCIES = np.array([0.9, 0.5, 0.1, 0.01, 0.001])
TRUTH = np.random.default_rng(0).random((40, 5)) < 0.4
GIVEN = np.random.default_rng(1).uniform(0.01, 0.99, (40, 5)).astype(np.float32)


def targets() -> NDArray[np.float32]:
    """Label 1,000 images, of which these shares have each label."""
    return (np.arange(1000)[:, None] < 1000 * FREQUENCIES).astype(np.float32)


def measured(name: Loss) -> NDArray[np.float32]:
    return np.asarray(losses.of(name, targets())(TRUTH.astype(np.float32), GIVEN))


def test_weights_are_the_root_of_the_ratio_within_bounds() -> None:
    np.testing.assert_allclose(losses.positive_weights(targets()), [1, 1, 3, np.sqrt(99), MOST_WEIGHT], rtol=1e-6)
    assert losses.positive_weights(np.zeros((4, 1), np.float32)) == [2]


def test_losses_are_their_formulas(tensorflow: Any) -> None:
    having, lacking = -np.log(GIVEN), -np.log(1 - GIVEN)
    assert measured("bce").mean() == pytest.approx(metrics.binary_crossentropy(TRUTH, GIVEN), rel=1e-5)
    weighted = np.where(TRUTH, losses.positive_weights(targets()) * having, lacking)
    np.testing.assert_allclose(measured("weighted"), weighted.mean(axis=1), rtol=1e-5)
    lowered = np.maximum(GIVEN - MARGIN, 0)
    asymmetric = np.where(TRUTH, having, lowered**EXPONENT * -np.log(1 - lowered))
    np.testing.assert_allclose(measured("asymmetric"), asymmetric.mean(axis=1), rtol=1e-4)


@pytest.mark.parametrize("name", get_args(Loss))
def test_every_loss_has_a_slope_where_a_tag_is_missed_and_none_that_is_nan(name: Loss, tensorflow: Any) -> None:
    log_odds = tensorflow.Variable([[-90.0, 90.0, -90.0, 0.0, 0.0]])
    truth = np.array([[1, 1, 0, 1, 0]], np.float32)

    # In a graph, as in training.
    @tensorflow.function  # type: ignore[untyped-decorator]
    def slopes() -> Any:
        with tensorflow.GradientTape() as tape:
            loss = losses.of(name, targets())(truth, tensorflow.sigmoid(log_odds))
        return tape.gradient(loss, log_odds)

    [found] = slopes().numpy()
    assert np.isfinite(found).all()
    assert found[0] < -0.1
    assert found[1:3] == pytest.approx([0, 0], abs=1e-6)
    assert found[3] < 0 < found[4]


@pytest.mark.parametrize("name", get_args(Loss))
def test_the_loss_of_a_network_that_gives_nan_is_nan(name: Loss, tensorflow: Any) -> None:
    given = GIVEN.copy()
    given[3] = np.nan
    assert np.isnan(np.mean(losses.of(name, targets())(TRUTH.astype(np.float32), given)))
