"""What the user says of rasters: which of their bands are red, green and blue, and which values are black and white."""

from __future__ import annotations

from typing import Any, NamedTuple

COLOURS = 3
# More than any sensor measures; beyond it, arithmetic in single precision overflows.
_LARGEST = 1e30

Stretch = tuple[tuple[float, float], ...]


class Rendering(NamedTuple):
    """How bands become a picture.

    Attributes:
      bands: numbers of those that are red, green and blue, from 1, as GDAL counts; empty where the file says it.
      stretch: for red, green and blue, the value that becomes 0 and the one that becomes 255; empty if unknown.
      product: that names the bands, one of `PRODUCTS`; no other files have them. Empty if the user names them.
    """

    bands: tuple[int, ...] = ()
    stretch: Stretch = ()
    product: str = ""

    def __bool__(self) -> bool:
        return bool(self.bands or self.stretch)

    def __str__(self) -> str:
        known = PRODUCTS[self.product].rendering if self.product else NO_RENDERING
        flags = [f"--product={self.product}"] if self.product else []
        flags += [f"--bands={','.join(map(str, self.bands))}"] if self.bands != known.bands else []
        ranges = (f"{_written(low)}:{_written(high)}" for low, high in self.stretch)
        flags += [f"--stretch={','.join(ranges)}"] if self.stretch != known.stretch else []
        return " ".join(flags)

    def over(self, other: Rendering) -> Rendering:
        """Complete it by what another one says."""
        of_bands = self if self.bands else other
        return Rendering(of_bands.bands, self.stretch or other.stretch, of_bands.product)

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        described = {"bands": list(self.bands), "stretch": [list(pair) for pair in self.stretch]}
        return {**described, "product": self.product} if self.product else described


NO_RENDERING = Rendering()
"""Nothing is said of rasters; they are refused unless their files say enough."""


def read_rendering(described: Any) -> Rendering:
    """Return a rendering from JSON.

    Raises:
      ValueError: it is malformed.
    """
    try:
        bands = tuple(described["bands"])
        stretch = tuple((low, high) for low, high in described["stretch"])
        product = described.get("product", "")
        known = product == "" or PRODUCTS[product].rendering.bands == bands
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ValueError("malformed, or of an unknown product") from error
    sound = all(type(band) is int and band > 0 for band in bands) and all(is_range(*pair) for pair in stretch)
    if not sound or not known or len(bands) not in (0, COLOURS) or len(stretch) not in (0, COLOURS):
        raise ValueError("neither none nor three bands and ranges")
    return Rendering(bands, stretch, product)


def is_range(low: Any, high: Any) -> bool:
    """Return whether these are numbers of which the first is less, and that can be computed with."""
    # Not `isinstance`: to Python, true is a number.
    numbers = all(type(end) in (int, float) and abs(end) < _LARGEST for end in (low, high))
    return numbers and high - low > 1 / _LARGEST


def _written(value: float) -> str:
    return str(value).removesuffix(".0")


class Product(NamedTuple):
    """A product of an imagery provider.

    Attributes:
      what: it is.
      number: of the bands of its files.
      rendering: of its files.
      source: of the order of the bands and of the stretch.
    """

    what: str
    number: int
    rendering: Rendering
    source: str


_REFLECTANCE: Stretch = ((0, 3000),) * 3

PRODUCTS = {
    "planet-analytic": Product(
        "PlanetScope analytic, 4 bands: blue, green, red, near infrared",
        4,
        Rendering((3, 2, 1), ((1172, 6339), (1881, 7969), (2225, 10106)), "planet-analytic"),
        "Planet's imagery product specification; stretch fitted to four clear chips of `Understanding the Amazon from "
        "Space` and their JPEGs",
    ),
    "planet-analytic-sr": Product(
        "PlanetScope surface reflectance, 4 bands: blue, green, red, near infrared",
        4,
        Rendering((3, 2, 1), _REFLECTANCE, "planet-analytic-sr"),
        "Planet's imagery product specification: reflectance times 10,000",
    ),
    "planet-analytic-8b-sr": Product(
        "PlanetScope surface reflectance, 8 bands: coastal blue, blue, green I, green, yellow, red, red edge, near "
        "infrared",
        8,
        Rendering((6, 4, 2), _REFLECTANCE, "planet-analytic-8b-sr"),
        "Planet's imagery product specification: reflectance times 10,000",
    ),
}
"""Products by name."""
