"""What the user says of rasters decides how they are shown, in every spelling, and of no picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipelines.images import DecodeSettings, ImageError, decode, decode_resized
from pipelines.images.isolation import DecoderPool
from pipelines.images.products import PRODUCTS
from pipelines.images.rendering import NO_RENDERING, Rendering, read_rendering, rendering_of
from tests import image_files as files
from tests.pipelines.images.decoding import assert_refused
from tests.pipelines.images.raster_files import (
    BGR,
    SAMPLE_FORMAT,
    STRETCH,
    named,
    scene,
    shown,
)

PLANETS_8 = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")


@pytest.mark.parametrize("rendering", [rendering_of("planet-analytic-8b-sr"), Rendering(stretch=STRETCH)])
@pytest.mark.parametrize("names", [PLANETS_8, [name.replace("_", " ").title() for name in PLANETS_8]])
def test_bands_of_which_others_have_other_names_are_shown(rendering: Rendering, names: Sequence[str]) -> None:
    samples = scene(8)

    decoded = decode(named(samples, *names), rendering=rendering)
    assert decoded.repairs == ("bands_642", "extra_band_dropped", "stretched")
    assert np.abs(decoded.pixels - shown(samples, Rendering((6, 4, 2), rendering.stretch))).max() <= 0.51


def test_numbered_bands_of_a_raster_are_those_that_the_user_says() -> None:
    reason = "does not say which are red, green and blue; give --bands"
    assert_refused(named(scene(4), "B2", "B3", "B4", "B8"), reason, rendering=Rendering(stretch=STRETCH))


def test_a_single_band_that_is_no_picture_is_not_shown() -> None:
    assert_refused(named(scene(1), "elevation"), "it is not a picture", rendering=Rendering(stretch=((0, 5000),) * 3))


def test_many_bands_are_not_counted_as_pixels() -> None:
    samples = np.zeros((600, 600, 250), np.uint8)
    samples[..., 0] = 200
    with warnings.catch_warnings():
        # Pillow's, of as many pixels as there are samples here.
        warnings.simplefilter("error")
        decoded = decode(files.tiff(samples, files.BLACK_IS_ZERO), rendering=Rendering((1, 2, 3)))
    assert decoded.pixels.reshape(-1, 3).min(axis=0).tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("data", "rendering", "reason"),
    [
        (files.tiff(scene(4), files.RGB), Rendering(stretch=STRETCH), "does not say which are red, green and blue"),
        (files.tiff(scene(2), files.BLACK_IS_ZERO), BGR, "2 bands, but --bands names band 3"),
        (files.tiff(scene(1), files.BLACK_IS_ZERO), BGR, "1 band, but --bands names band 3"),
        (files.tiff(scene(251), files.BLACK_IS_ZERO), BGR, "251 bands: more than 250"),
        (
            files.tiff(scene(4), files.RGB, tags={SAMPLE_FORMAT: ("H", [3] * 4)}),
            BGR,
            "floating-point samples of 16 bits",
        ),
        (files.tiff(scene(4), files.RGB), NO_RENDERING, "--bands and --stretch LOW:HIGH, or --product"),
        (files.tiff(scene(4), files.RGB), Rendering((3, 2, 1)), "--bands and --stretch"),
        (files.tiff(scene(3, np.float64), files.RGB, tags={SAMPLE_FORMAT: ("H", [3] * 3)}), BGR, "64 bits"),
        (files.tiff(scene(4), files.RGB)[:-9000], BGR, "truncated|damaged"),
    ],
)
def test_rasters_of_which_too_little_is_said_or_stored_are_refused(
    data: bytes, rendering: Rendering, reason: str
) -> None:
    assert_refused(data, reason, rendering=rendering)


@pytest.mark.parametrize(
    "data",
    [
        files.tiff(scene(4), files.CMYK),
        files.tiff(scene(1, np.int16), files.WHITE_IS_ZERO, tags={SAMPLE_FORMAT: ("H", [2])}),
        files.tiff(scene(4, np.uint32), files.RGB),
        files.tiff(scene(2, np.uint8), files.BLACK_IS_ZERO),
    ],
    ids=["CMYK", "white is zero", "32 bits", "two bands"],
)
def test_no_flags_are_asked_for_that_would_not_help(data: bytes) -> None:
    for rendering in (NO_RENDERING, BGR):
        with pytest.raises(ImageError) as refused:
            decode(data, rendering=rendering)
        assert "--" not in str(refused.value)


def test_flags_are_asked_for_that_help() -> None:
    assert_refused(files.tiff(scene(5, np.uint8), files.BLACK_IS_ZERO), "red, green and blue with --bands")


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_what_is_said_of_rasters_changes_no_picture(kind: str) -> None:
    data = files.encode(files.picture(), kind)

    assert decode(data, rendering=Rendering(stretch=STRETCH)).repairs == ()
    assert np.array_equal(decode(data, rendering=Rendering(stretch=STRETCH)).pixels, decode(data).pixels)


def test_a_process_of_its_own_shows_rasters_alike() -> None:
    data = files.tiff(scene(4), files.RGB)
    settings = DecodeSettings(16, "bilinear", rendering=BGR)
    pool = DecoderPool(settings, 20, 1)
    try:
        assert np.array_equal(pool.decode(data).pixels, decode_resized(data, settings).pixels)
    finally:
        pool.close()


P2_P98 = Rendering((3, 2, 1), percentiles=((2, 98),) * 3)


@pytest.mark.parametrize("rendering", [BGR, P2_P98, NO_RENDERING, *map(rendering_of, PRODUCTS)])
def test_a_rendering_survives_json(rendering: Rendering) -> None:
    assert read_rendering(rendering.described()) == rendering


@pytest.mark.parametrize(
    "described",
    [
        *(None, [], {}, {"bands": [1, 2], "stretch": []}, {"bands": [0, 1, 2], "stretch": []}),
        *({"bands": ["1", 2, 3], "stretch": []}, {"bands": [1, 2, True], "stretch": []}),
        *({"bands": [], "stretch": [[1, 1]] * 3}, {"bands": [], "stretch": [[0, "x"]] * 3}),
        *({"bands": [], "stretch": ["ab"] * 3}, {"bands": [], "stretch": [[0, float("inf")]] * 3}),
        *({"bands": [], "stretch": [[0, 10**400]] * 3}, {"bands": [], "stretch": [[False, True]] * 3}),
        *({"bands": [], "stretch": [[0, 1e-40]] * 3}, {"bands": [], "stretch": [[0, 1, 2]] * 3}),
        *(
            {"bands": [3, 2, 1], "stretch": [], "product": "landsat"},
            {"bands": [3, 2, 1], "stretch": [], "product": []},
        ),
        *({"bands": [3, 2, 1], "stretch": [], "product": {}}, {"bands": [3, 2, 1], "stretch": [], "product": 1}),
        {"bands": [1, 2, 3], "stretch": [], "product": "planet-analytic"},
        {"bands": [], "stretch": [], "percentiles": [[2, 101]] * 3},
        {"bands": [], "stretch": [], "percentiles": [[2, 98]]},
        {"bands": [], "stretch": [[0, 1]] * 3, "percentiles": [[2, 98]] * 3},
    ],
)
def test_a_malformed_rendering_is_refused(described: Any) -> None:
    with pytest.raises(ValueError, match=r"malformed|neither"):
        read_rendering(described)


@pytest.mark.parametrize(
    ("rendering", "flags"),
    [
        (NO_RENDERING, ""),
        (rendering_of("planet-analytic"), "--product=planet-analytic"),
        (P2_P98, "--bands=3,2,1 --stretch=p2:p98,p2:p98,p2:p98"),
        (Rendering((3, 2, 1), (), "sentinel-2-l2a"), "--product=sentinel-2-l2a --bands=3,2,1"),
        (
            Rendering((3, 2, 1), STRETCH, "planet-analytic"),
            "--product=planet-analytic --stretch=1000:4000,500:3000,0:6000",
        ),
        (Rendering((), ((-1234.5678, 1000001),) * 3), f"--stretch={','.join(['-1234.5678:1000001'] * 3)}"),
    ],
)
def test_a_rendering_is_written_as_the_flags_that_say_it(rendering: Rendering, flags: str) -> None:
    assert str(rendering) == flags


def test_bands_that_are_said_are_not_those_of_a_product() -> None:
    product = rendering_of("planet-analytic")
    assert Rendering((1, 2, 3)).over(product) == Rendering((1, 2, 3), product.stretch)
    assert Rendering(stretch=STRETCH).over(product) == Rendering((3, 2, 1), STRETCH, "planet-analytic")
    assert Rendering(percentiles=STRETCH).over(product) == Rendering((3, 2, 1), (), "planet-analytic", STRETCH)


def test_bands_that_are_said_of_a_product_without_an_order_leave_it_what_it_is() -> None:
    product = rendering_of("sentinel-2-l2a")
    assert Rendering((1, 2, 3)).over(product) == Rendering((1, 2, 3), (), "sentinel-2-l2a")
    assert Rendering(stretch=STRETCH).over(product) == Rendering((), STRETCH, "sentinel-2-l2a")
    assert product.over(BGR) == product
    assert rendering_of("landsat-8-l2").over(product) == rendering_of("landsat-8-l2")


def test_a_chip_has_no_percentiles_of_its_own() -> None:
    data = files.tiff(scene(4), files.RGB)
    assert_refused(data, "percentiles are those of a scene; give values, e.g. --stretch 0:3000", rendering=P2_P98)
    reason = "give --bands, and if it is no larger than a window, values in place of percentiles, e.g. --stretch 0:3000"
    data = files.tiff(scene(4), files.BLACK_IS_ZERO)
    assert_refused(data, reason, rendering=Rendering(percentiles=P2_P98.percentiles))
    picture = files.tiff(files.picture(), files.RGB)
    assert decode(picture, rendering=Rendering(percentiles=P2_P98.percentiles)).repairs == ()
