"""What is measured of images: known numbers for simple ones, and the same for an image beside any others."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.images import appearance
from pipelines.images.appearance import LEAST_BLANK, LEAST_CONTRAST, LEAST_ROUGHNESS, MEASURES, measure
from tests.image_files import picture


def measured(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(MEASURES, measure([pixels])[0], strict=True))


def test_a_flat_image_has_its_colour_and_is_blank() -> None:
    found = measured(np.full((40, 40, 3), (10, 20, 30), np.uint8))
    assert [found[name] for name in ("red", "green", "blue")] == [10, 20, 30]
    assert found["blank"] == pytest.approx(np.log(1 + LEAST_BLANK))
    for name, value in found.items():
        if name.startswith("contrast"):
            assert value == pytest.approx(np.log(LEAST_CONTRAST)), name
        elif name.startswith("roughness"):
            assert value == pytest.approx(np.log(LEAST_ROUGHNESS)), name


def test_a_ramp_is_as_rough_as_it_is_steep() -> None:
    # Three levels per pixel from left to right; columns, half of the lines, are flat.
    ramp = np.broadcast_to((3 * np.arange(64))[np.newaxis, :, np.newaxis], (64, 64, 3)).astype(np.uint8)
    found = measured(ramp)
    for lag in appearance.LAGS:
        assert found[f"roughness_{lag}"] == pytest.approx(np.log(3 * lag / 2 + LEAST_ROUGHNESS)), lag
    assert found["blank"] == pytest.approx(np.log(0.5 + LEAST_BLANK))
    assert found["contrast_red_green"] == pytest.approx(np.log(LEAST_CONTRAST)), "it is gray"


@pytest.mark.parametrize("order", permutations(range(3)))
def test_exchanged_channels_exchange_what_is_measured_of_them(order: tuple[int, ...]) -> None:
    pixels, names = picture(64, 64), ("red", "green", "blue")
    before, after = measured(pixels), measured(pixels[..., order])
    for place, origin in enumerate(order):
        for prefix in ("", "contrast_"):
            assert after[prefix + names[place]] == pytest.approx(before[prefix + names[origin]])
    for name in MEASURES:
        if name.startswith(("roughness", "blank")):
            assert after[name] == before[name], name
    of_pairs = [name for name in MEASURES if name.count("_") == 2]
    assert sorted(after[name] for name in of_pairs) == pytest.approx(sorted(before[name] for name in of_pairs))


@given(size=st.integers(appearance.SMALLEST, 90), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_an_image_measures_the_same_to_the_last_bit_beside_any_others(size: int, count: int, seed: int) -> None:
    images = [picture(size, size, seed=seed + number) for number in range(count)]
    together = measure(images)
    assert together.shape == (count, len(MEASURES))
    assert np.isfinite(together).all()
    for number, image in enumerate(images):
        assert measure([image])[0].tobytes() == together[number].tobytes(), number
    assert measure(np.stack(images)).tobytes() == together.tobytes(), "as one array"
