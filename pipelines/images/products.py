"""What is known of the files of imagery providers: which bands are colours, and what their values stand for."""

from __future__ import annotations

from typing import NamedTuple

Stretch = tuple[tuple[float, float], ...]
"""For red, green and blue, the value that becomes 0 and the one that becomes 255."""


class Product(NamedTuple):
    """A product of an imagery provider.

    Attributes:
      what: it is.
      source: of the order of the bands, and of what their values stand for.
      number: of the bands of its files; 0 if they have any, because users put them together.
      bands: numbers of those that are red, green and blue, from 1; empty if names of bands say it.
      stretch: of its values, without `offset`; empty if they are levels already.
      satellite: by which numbers the provider calls red, green and blue; empty if their names are no numbers.
      bits: of a sample.
      fill: the value of pixels without data, whether or not the file says it; None if there is none.
      offset: by which all values of some of its files are higher, and of others not; 0 if there is no such thing.
      scalings: scale and offset from values to reflectance that its files may state: without `offset`, and with it.
        Empty if they may state any.
    """

    what: str
    source: str
    number: int
    bands: tuple[int, ...] = ()
    stretch: Stretch = ()
    satellite: tuple[int, ...] = ()
    bits: int = 16
    fill: int | None = None
    offset: int = 0
    scalings: tuple[tuple[float, float], ...] = ()


_PLANET = "https://docs.planet.com/data/imagery/planetscope/psscene/"
_SENTINEL_2 = "https://sentiwiki.copernicus.eu/web/s2-products"
_LANDSAT_1 = "https://www.usgs.gov/landsat-missions/using-usgs-landsat-level-1-data-product"
_LANDSAT_2 = "https://www.usgs.gov/faqs/how-do-i-use-a-scale-factor-landsat-level-2-science-products"
_NAIP = "https://www.usgs.gov/centers/eros/science/usgs-eros-archive-aerial-photography-national-agriculture-imagery-program-naip"

_REFLECTANCE: Stretch = ((0, 3000),) * 3
"""Of reflectance times 10,000: up to 0.3."""
_RADIANCE: Stretch = ((1172, 6339), (1881, 7969), (2225, 10106))
"""Of radiance times 100: fitted to four clear chips of `Understanding the Amazon from Space` and their JPEGs."""

_SENTINEL_2_L1C = Product(
    "Sentinel-2 level 1C, bands of 10 m and others in one file",
    _SENTINEL_2,
    0,
    stretch=_REFLECTANCE,
    satellite=(4, 3, 2),
    fill=0,
    offset=1000,
    scalings=((1e-4, 0.0), (1e-4, -0.1)),
)

PRODUCTS = {
    "planet-analytic": Product(
        "PlanetScope analytic, 4 bands: blue, green, red, near infrared", _PLANET, 4, (3, 2, 1), _RADIANCE
    ),
    "planet-analytic-3b": Product("PlanetScope analytic, 3 bands: red, green, blue", _PLANET, 3, (1, 2, 3), _RADIANCE),
    "planet-analytic-8b": Product(
        "PlanetScope analytic, 8 bands: coastal blue, blue, green I, green, yellow, red, red edge, near infrared",
        _PLANET,
        8,
        (6, 4, 2),
        _RADIANCE,
    ),
    "planet-analytic-sr": Product(
        "PlanetScope surface reflectance, 4 bands: blue, green, red, near infrared", _PLANET, 4, (3, 2, 1), _REFLECTANCE
    ),
    "planet-analytic-8b-sr": Product(
        "PlanetScope surface reflectance, 8 bands: coastal blue, blue, green I, green, yellow, red, red edge, near "
        "infrared",
        _PLANET,
        8,
        (6, 4, 2),
        _REFLECTANCE,
    ),
    "sentinel-2-l1c": _SENTINEL_2_L1C,
    "sentinel-2-l2a": _SENTINEL_2_L1C._replace(what="Sentinel-2 level 2A, bands of 10 m and others in one file"),
    # Reflectance is 2e-5 times a value less 0.1, not yet divided by the sine of the sun's elevation.
    "landsat-8-l1": Product(
        "Landsat 8 and 9, Collection 2 level 1, bands in one file",
        _LANDSAT_1,
        0,
        stretch=((5000, 20000),) * 3,
        satellite=(4, 3, 2),
        fill=0,
    ),
    # Reflectance is 2.75e-5 times a value less 0.2.
    "landsat-8-l2": Product(
        "Landsat 8 and 9, Collection 2 level 2, bands in one file",
        _LANDSAT_2,
        0,
        stretch=((7273, 18182),) * 3,
        satellite=(4, 3, 2),
        fill=0,
        scalings=((2.75e-5, -0.2),),
    ),
    "landsat-4-l2": Product(
        "Landsat 4, 5 and 7, Collection 2 level 2, bands in one file",
        _LANDSAT_2,
        0,
        stretch=((7273, 18182),) * 3,
        satellite=(3, 2, 1),
        fill=0,
        scalings=((2.75e-5, -0.2),),
    ),
    "naip": Product("NAIP, 4 bands of 8 bits: red, green, blue, near infrared", _NAIP, 4, (1, 2, 3), bits=8),
}
"""Products by name."""


def ask_for_stretch(name: str) -> str:
    """Return the remedy where a file of a product does not show which of its values are black and white.

    Args:
      name: of a product whose values are not levels.
    """
    known, [(low, high), *_] = PRODUCTS[name].offset, PRODUCTS[name].stretch
    plain = f"{low:.0f}:{high:.0f}"
    if not known:
        return f"give --stretch {plain}"
    held = f"{low + known:.0f}:{high + known:.0f}"
    return f"give --stretch {held} if its values hold the offset of {known:,}, --stretch {plain} if not"
