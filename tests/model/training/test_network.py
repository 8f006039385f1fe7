"""The network: its precision, what training may change of it, and what it takes up afterwards."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.quality.calibration import Correction
from model.training import network
from tests.bundles import IMAGE_SIZE as SIZE

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_the_head_takes_up_a_correction() -> None:
    import keras

    keras.utils.set_random_seed(0)
    head = keras.layers.Dense(3, "sigmoid", bias_initializer="random_normal", name="probabilities")
    model = keras.Sequential([keras.Input((4,)), head])
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    correction = Correction(1.7, np.array([0.5, 0.0, -1.0]))
    before = np.asarray(model(features))

    network.calibrate(model, correction)

    np.testing.assert_allclose(np.asarray(model(features)), correction.apply(before), atol=1e-6)


@pytest.fixture(scope="module")
def untrained(tensorflow: Any) -> Any:
    return network.build(np.full(3, 0.5, np.float32), image_size=SIZE, alpha=0.35, weights=None)


def some_pixels(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, size=(count, SIZE, SIZE, 3), dtype=np.uint8)


def test_a_network_in_mixed_precision_has_an_equal_in_float32(untrained: Any) -> None:
    def build(precision: network.Precision) -> Any:
        frequencies = np.full(3, 0.5, np.float32)
        return network.build(frequencies, image_size=SIZE, alpha=0.35, weights=None, precision=precision)

    mixed = build("mixed_float16")
    network.free(mixed, "everything")
    # Compiled, one step for this network takes as long as hundreds.
    mixed.compile("adam", "binary_crossentropy", run_eagerly=True)
    mixed.fit(some_pixels(8), np.ones((8, 3), np.float32), verbose=0)
    assert mixed.get_layer("backbone").compute_dtype == "float16"
    plain = build("float32")
    plain.set_weights(mixed.get_weights())
    assert plain.get_layer("backbone").compute_dtype == "float32"
    assert {weight.dtype for weight in mixed.get_weights()} == {np.dtype("float32")}
    pixels = some_pixels(4)
    np.testing.assert_allclose(mixed(pixels), plain(pixels), atol=0.02)


def test_fine_tuning_keeps_the_statistics_of_batch_normalization(untrained: Any) -> None:
    def moved(layers: network.Trainable) -> tuple[bool, bool]:
        """Train one step; tell whether statistics moved, and whether any other weight of the base did."""
        network.free(untrained, layers)
        untrained.compile("adam", "binary_crossentropy", run_eagerly=True)
        backbone = untrained.get_layer("backbone")
        before = {weight.path: weight.numpy() for weight in backbone.weights}
        untrained.fit(some_pixels(4), np.ones((4, 3), np.float32), epochs=1, verbose=0)
        changed = {w.path for w in backbone.weights if not np.array_equal(w.numpy(), before[w.path])}
        return any("moving" in path for path in changed), any("moving" not in path for path in changed)

    assert moved("head") == (False, False)
    assert moved("all but statistics") == (False, True)
    assert moved("everything") == (True, True)


def test_weights_that_do_not_fit_are_one_line(tmp_path: Path, untrained: Any) -> None:
    file = tmp_path / "base.weights.h5"
    untrained.get_layer("backbone").save_weights(file)
    with warnings.catch_warnings(record=True) as warned, pytest.raises(network.WeightsError) as told:
        network.check_weights(file, image_size=SIZE, alpha=0.5)
    assert str(told.value) == f"{file}: weights for alpha 0.35, not 0.5; give --alpha 0.35"
    assert not warned
