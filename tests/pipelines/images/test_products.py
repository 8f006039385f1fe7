"""Files of providers: which bands are colours, and what their values stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.images import decode
from pipelines.images.layout import UntrustedColoursError
from pipelines.images.products import PRODUCTS
from pipelines.images.rendering import Rendering, rendering_of
from pipelines.images.tiff.scaling import find_offset
from tests import image_files as files
from tests.pipelines.images.decoding import assert_refused
from tests.pipelines.images.raster_files import METADATA, SAMPLE_FORMAT, scene

SENTINEL_2 = "sentinel-2-l2a"
BASELINE = '<Item name="PROCESSING_BASELINE">{}</Item>'
DRIVER = (
    "B4, central wavelength 665 nm",
    "B3, central wavelength 560 nm",
    "B2, central wavelength 490 nm",
    "B8, 842 nm",
)


def file_of(samples: NDArray[Any], names: Sequence[str] = (), more: str = "") -> bytes:
    """Write a TIFF with GDAL's names of bands, and further items of its metadata."""
    items = [
        f'<Item name="DESCRIPTION" sample="{at}" role="description">{name}</Item>' for at, name in enumerate(names)
    ]
    metadata = f"<GDALMetadata>{''.join(items)}{more}</GDALMetadata>\0".encode()
    return files.tiff(samples, files.BLACK_IS_ZERO, tags={METADATA: ("B", list(metadata))})


def assert_levels(data: bytes, product: str, reflectance: NDArray[Any], repairs: Sequence[str], **said: Any) -> None:
    """Check that reflectance from 0 to 0.3 is shown from black to white."""
    decoded = decode(data, rendering=rendering_of(product)._replace(**said))
    assert np.abs(decoded.pixels - np.clip(reflectance / 0.3, 0, 1) * 255).max() <= 0.55
    assert decoded.repairs == tuple(repairs)


def dark(bands: int, seed: int = 0) -> NDArray[Any]:
    """Draw reflectance as of vegetation: [33, 47, bands], 0.01 to 0.5."""
    return np.random.default_rng(seed).uniform(0.01, 0.5, (33, 47, bands))


@pytest.mark.parametrize("stated", ["04.00", "05.11"])
@pytest.mark.parametrize("product", ["sentinel-2-l1c", SENTINEL_2])
def test_the_offset_of_sentinel_2_is_removed_where_the_baseline_has_it(product: str, stated: str) -> None:
    reflectance = dark(4)
    stored = np.rint(reflectance * 10_000).astype(np.uint16)
    repairs = ["extra_band_dropped", "offset_removed", "stretched"]
    assert_levels(file_of(stored + 1000, DRIVER, BASELINE.format(stated)), product, reflectance[..., :3], repairs)
    repairs.remove("offset_removed")
    assert_levels(file_of(stored, DRIVER, BASELINE.format("03.01")), product, reflectance[..., :3], repairs)
    # The other way round is a guess that cannot be seen, so what is stated counts.
    assert_levels(file_of(stored, DRIVER), product, reflectance[..., :3], repairs)


def scaled(scale: float, offset: float, bands: Sequence[int] = (0, 1, 2)) -> str:
    roles = (("SCALE", scale), ("OFFSET", offset))
    return "".join(
        f'<Item name="{name}" sample="{band}" role="{name.lower()}">{value}</Item>'
        for band in bands
        for name, value in roles
    )


@pytest.mark.parametrize(("offset", "held"), [(-0.1, 1000), (0, 0)])
def test_scale_and_offset_of_the_bands_count_more_than_the_baseline(offset: float, held: int) -> None:
    reflectance = dark(3)
    data = file_of(
        np.rint(reflectance * 10_000 + held).astype(np.uint16),
        DRIVER[:3],
        scaled(1e-4, offset) + BASELINE.format("05.09"),
    )
    assert_levels(data, SENTINEL_2, reflectance, ["offset_removed"] * bool(held) + ["stretched"])


@pytest.mark.parametrize(
    "more",
    [
        *(scaled(1e-4, -0.2), scaled(2e-4, 0), scaled(1e-4, -0.1, [0]), scaled(1, 5)),
        *(scaled(*pair) for pair in ((1e-4, math.nan), (1e-4, math.inf), (math.nan, 0), (math.inf, math.inf))),
    ],
)
def test_another_scale_than_that_of_the_product_is_refused(more: str) -> None:
    reason = f"a different scale or offset than {SENTINEL_2} has; give --bands and --stretch"
    assert_refused(file_of(scene(3), DRIVER[:3], more), reason, rendering=rendering_of(SENTINEL_2))


def test_a_band_that_is_a_file_of_its_own_is_gray_where_bands_say_so() -> None:
    reflectance = dark(1)
    stored = np.rint(reflectance * 10_000 + 1000).astype(np.uint16)
    stored[0, 0] = 0
    data = file_of(stored, ["B4"], BASELINE.format("04.00"))
    shown = np.where(stored, reflectance, 0)
    repairs = ["no_data_kept", "offset_removed", "stretched", "grayscale"]
    assert_levels(data, SENTINEL_2, shown, repairs, bands=(1, 1, 1))
    assert_refused(data, "it is unknown how bright white is", rendering=rendering_of(SENTINEL_2))


@pytest.mark.parametrize("held", [1000, 2500])
def test_a_chip_that_may_hold_the_offset_is_refused_with_both_stretches(held: int) -> None:
    stored = np.rint(dark(3) * 10_000).astype(np.uint16) + held
    data = file_of(stored, DRIVER[:3])
    reason = (
        r"offset of 1,000 of sentinel-2-l2a.*; give --stretch 1000:4000 if its values hold the offset of 1,000, "
        "--stretch 0:3000 if not"
    )
    assert_refused(data, reason, rendering=rendering_of(SENTINEL_2))
    decoded = decode(data, rendering=Rendering((), ((1000, 4000),) * 3, SENTINEL_2))
    assert decoded.repairs == ("stretched",)


def test_a_scene_of_dark_surfaces_at_the_offset_holds_it() -> None:
    red = np.random.default_rng(0).uniform(0.005, 0.4, 200_000) * 10_000
    assert find_offset([red + 1000], SENTINEL_2, of_scene=True) == 1000
    assert find_offset([red], SENTINEL_2, of_scene=True) == 0
    bright = red + 2000
    for values, of_scene in (
        (red + 1000, False),
        (red[:9000] + 1000, True),
        (bright, True),
        (red + 600, True),
        (red[:900], False),
        # Edges of what holds no data, in a scene that was resampled.
        (np.where(red < 100, 300, red + 1000), False),
    ):
        with pytest.raises(UntrustedColoursError, match="neither its metadata nor its darkest values say it"):
            find_offset([values], SENTINEL_2, of_scene=of_scene)


def test_dry_soil_is_not_taken_for_dark_surfaces_at_the_offset() -> None:
    red = np.random.default_rng(0).uniform(0.11, 0.25, 200_000) * 10_000
    with pytest.raises(UntrustedColoursError, match="neither its metadata nor its darkest values say it"):
        find_offset([red, red * 0.9, red * 0.5], SENTINEL_2, of_scene=True)


@pytest.mark.parametrize(
    ("product", "names", "scale", "offset"),
    [
        ("landsat-8-l1", ("B4", "B3", "B2", "B5"), 2e-5, -0.1),
        ("landsat-8-l2", ("SR_B4", "SR_B3", "SR_B2", "SR_B5"), 2.75e-5, -0.2),
        ("landsat-4-l2", ("SR_B3", "SR_B2", "SR_B1", "SR_B4"), 2.75e-5, -0.2),
        ("landsat-8-l2", ("Red", "Green", "Blue", "NIR"), 2.75e-5, -0.2),
    ],
)
def test_landsat_is_shown_by_its_reflectance(product: str, names: Sequence[str], scale: float, offset: float) -> None:
    reflectance = dark(4)
    stored = np.rint((reflectance - offset) / scale).astype(np.uint16)
    stored[0, :5] = 0
    shown = np.where(stored == 0, 0, reflectance)[..., :3]
    assert_levels(file_of(stored, names), product, shown, ["no_data_kept", "extra_band_dropped", "stretched"])
    turned = stored[..., [2, 1, 0, 3]]
    repairs = ["no_data_kept", "bands_321", "extra_band_dropped", "stretched"]
    assert_levels(file_of(turned, [names[at] for at in (2, 1, 0, 3)]), product, shown, repairs)
    assert_levels(file_of(turned), product, shown, repairs, bands=(3, 2, 1))


@pytest.mark.parametrize("product", ["landsat-8-l2", "landsat-4-l2"])
def test_landsat_may_state_its_own_scale_and_no_other(product: str) -> None:
    said = rendering_of(product)._replace(bands=(1, 2, 3))
    decode(file_of(scene(3), (), scaled(2.75e-5, -0.2)), rendering=said)
    reason = f"a different scale or offset than {product} has; give --bands and --stretch"
    assert_refused(file_of(scene(3), (), scaled(1e-4, -0.1)), reason, rendering=said)


@pytest.mark.parametrize(
    ("product", "names", "bands", "reason"),
    [
        ("landsat-8-l2", ("SR_B3", "SR_B2", "SR_B1"), (1, 2, 3), "whose band 1 is named 'SR_B3'"),
        (SENTINEL_2, ("B8", "B4", "B3"), (), "does not say which are red, green and blue"),
        (SENTINEL_2, ("B4", "B3", "B2", "B4"), (), "does not say which are red, green and blue"),
        (
            SENTINEL_2,
            ("B3, red", "B4, green", "B2, blue"),
            (),
            "whose band 1 is named 'B3, red', but red, green and blue of",
        ),
        (SENTINEL_2, (), (), "does not say which are red, green and blue"),
        (SENTINEL_2, ("B4A", "B3", "B2"), (1, 2, 3), "whose band 1 is named 'B4A'"),
        ("planet-analytic-3b", ("Blue", "Green", "Red"), None, "whose band 1 is named 'Blue'"),
        ("planet-analytic-8b", ("B1", "B2", "B3"), None, "3 bands, but files of planet-analytic-8b have 8"),
    ],
)
def test_bands_of_a_product_are_not_guessed(
    product: str, names: Sequence[str], bands: tuple[int, ...] | None, reason: str
) -> None:
    said = rendering_of(product) if bands is None else rendering_of(product)._replace(bands=bands)
    assert_refused(file_of(scene(max(3, len(names))), names), reason, rendering=said)


def test_the_values_of_a_product_are_integers() -> None:
    data = files.tiff(scene(4, np.float32), files.BLACK_IS_ZERO, tags={SAMPLE_FORMAT: ("H", [3] * 4)})
    for product in ("planet-analytic", SENTINEL_2):
        reason = f"floating-point samples, but those of {product} are integers; give --bands and --stretch"
        assert_refused(data, reason, rendering=rendering_of(product)._replace(bands=(3, 2, 1)))


def test_the_fourth_band_of_naip_hides_nothing() -> None:
    samples = scene(4, np.uint8)
    samples[:9, :, 3] = 0
    naip = rendering_of("naip")
    for extra in (0, 1, 2):
        data = files.tiff(samples, files.RGB, tags={338: ("H", [extra])})
        decoded = decode(data, rendering=naip)
        assert np.array_equal(decoded.pixels, samples[..., :3])
        assert decoded.repairs == ("extra_band_dropped",)
    picture = files.tiff(samples[..., :3].copy(), files.RGB)
    assert decode(picture, rendering=naip).repairs == ()
    assert_refused(files.tiff(scene(4), files.RGB), "16-bit multi-band TIFF", rendering=naip)


def test_products_of_planet_differ_in_their_bands() -> None:
    for product, bands in (("planet-analytic", "321"), ("planet-analytic-3b", ""), ("planet-analytic-8b", "642")):
        known = PRODUCTS[product]
        decoded = decode(file_of(scene(known.number)), rendering=rendering_of(product))
        assert [repair for repair in decoded.repairs if "bands" in repair] == [f"bands_{bands}"] * bool(bands)


def test_true_colour_images_are_shown_as_they_are() -> None:
    picture = files.tiff(files.picture(), files.RGB)
    for product in PRODUCTS:
        decoded = decode(picture, rendering=rendering_of(product))
        assert np.array_equal(decoded.pixels, decode(picture).pixels)
        assert decoded.repairs == ()
