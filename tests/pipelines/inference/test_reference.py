"""How strange an image is compared with the training images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.images.appearance import MEASURES, measure
from pipelines.inference.bundle import Description, load_bundle, seal_bundle
from pipelines.inference.bundle_manifest import MANIFEST
from pipelines.inference.reference import LEAST_IMAGES, Reference, gather_reference, read_reference
from tests.pipelines.inference.real_chips import appearances, changed
from tests.pipelines.inference.sealed import FIELDS, assert_refused, rewrite


def drawn(count: int, seed: int = 0) -> np.ndarray:
    """Draw what images might look like: measures that vary together."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, len(MEASURES))) @ np.random.default_rng(1).normal(size=(len(MEASURES),) * 2)
    return mixed * np.where(np.arange(len(MEASURES)) < 3, 20, 0.5) + np.where(np.arange(len(MEASURES)) < 3, 90, 1)


def gathered(measured: np.ndarray) -> Reference:
    reference = gather_reference(measured)
    assert reference
    return reference


def test_real_chips_of_the_same_set_are_rarely_strange(planet: Path) -> None:
    chips = appearances(planet)
    novelty = gathered(chips[:240]).novelty(chips[240:])
    assert (novelty > 0.99).mean() <= 0.02
    assert novelty.mean() == pytest.approx(0.5, abs=0.07), "as strange as the training images"


@pytest.mark.parametrize("change", ["red and blue exchanged", "inverted", "gray", "compressed"])
def test_a_real_chip_that_was_changed_is_told_from_others(planet: Path, change: str) -> None:
    chips = appearances(planet)
    reference = gathered(chips[:240])
    others, strange = reference.novelty(chips[240:]), reference.novelty(changed(planet, change))
    assert (strange[:, np.newaxis] > others).mean() >= 0.93, "area under the ROC curve"


def test_blank_and_noisy_and_half_empty_images_are_always_strange(planet: Path) -> None:
    reference = gathered(appearances(planet)[:240])
    flat = measure([np.full((224, 224, 3), level, np.uint8) for level in (0, 1, 64, 128, 254, 255)])
    noise = measure([np.random.default_rng(seed).integers(0, 256, (224, 224, 3), np.uint8) for seed in range(4)])
    for name, measured in (("flat", flat), ("noise", noise), ("half black", changed(planet, "half black"))):
        assert reference.novelty(measured).min() > 0.99, name


def test_too_few_images_are_no_reference() -> None:
    assert gather_reference(drawn(LEAST_IMAGES - 1)) is None
    assert gather_reference(drawn(LEAST_IMAGES)) is not None


def test_images_that_are_all_alike_are_a_reference() -> None:
    reference = gathered(np.repeat(drawn(1), 150, axis=0))
    assert read_reference(json.loads(json.dumps(reference.described()))) == reference
    assert reference.novelty(drawn(5, seed=7)).min() > 0.99


@given(factor=st.floats(0, 1e3), seed=st.integers(0, 9))
def test_what_is_farther_from_the_training_images_is_no_less_strange(factor: float, seed: int) -> None:
    reference = gathered(drawn(200))
    towards = drawn(1, seed=seed) - np.array(reference.means)
    near, far = reference.novelty(
        np.array(reference.means) + np.concatenate([towards * factor, towards * factor * 1.5])
    )
    assert 0 <= near <= far <= 1


def test_an_image_is_as_strange_to_the_last_bit_beside_any_others() -> None:
    reference, measured = gathered(drawn(200)), drawn(37, seed=3)
    together = reference.novelty(measured)
    assert together.dtype == np.float32
    assert [reference.novelty(one[np.newaxis])[0] for one in measured] == together.tolist()


def test_a_bundle_holds_it(folder: Path) -> None:
    reference = gathered(drawn(200))
    (folder / MANIFEST).unlink()
    assert seal_bundle(folder, Description(**FIELDS, reference=reference)).reference == reference
    assert load_bundle(str(folder)).reference == reference


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("measures", ["red"]),
        ("images", 0),
        ("images", True),
        ("means", [0.0]),
        ("means", [float("nan")] * len(MEASURES)),
        ("covariances", [[0.0] * len(MEASURES)]),
        ("covariances", [[-1e9] * len(MEASURES)] * len(MEASURES)),
        ("covariances", [[1.0]] * len(MEASURES)),
        ("covariances", (np.eye(len(MEASURES)) * 1e300).tolist()),
        ("covariances", (np.eye(len(MEASURES)) + np.eye(len(MEASURES), k=1)).tolist()),
        ("means", [1e300] * len(MEASURES)),
        ("distances", []),
        ("distances", [2.0, 1.0]),
        ("tail", 0),
        ("spread", "1"),
        ("spread", None),
    ],
)
def test_a_bundle_with_statistics_that_cannot_be_is_refused(folder: Path, name: str, value: Any) -> None:
    described = {**gathered(drawn(200)).described(), name: value}
    rewrite(folder, lambda manifest: manifest.update(reference=described))
    assert_refused(folder, "has a reference that is not|NaN is not a finite number")
