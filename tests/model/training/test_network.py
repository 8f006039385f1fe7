"""What is learnt after training becomes part of the network."""

from __future__ import annotations

import numpy as np
import pytest

from model.quality.calibration import Correction
from model.training import network

keras = pytest.importorskip("keras")


def test_the_head_takes_up_a_correction() -> None:
    keras.utils.set_random_seed(0)
    head = keras.layers.Dense(3, "sigmoid", bias_initializer="random_normal", name="probabilities")
    model = keras.Sequential([keras.Input((4,)), head])
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    correction = Correction(1.7, np.array([0.5, 0.0, -1.0]))
    before = np.asarray(model(features))

    network.calibrate(model, correction)

    np.testing.assert_allclose(np.asarray(model(features)), correction.apply(before), atol=1e-6)
