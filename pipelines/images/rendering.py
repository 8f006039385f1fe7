"""What the user says of rasters: which of their bands are red, green and blue, and which values are black and white."""

from __future__ import annotations

from typing import Any, NamedTuple

COLOURS = 3

Stretch = tuple[tuple[float, float], ...]


class Rendering(NamedTuple):
    """How bands become a picture.

    Attributes:
      bands: numbers of those that are red, green and blue, from 1, as GDAL counts; empty where the file says it.
      stretch: for red, green and blue, the value that becomes 0 and the one that becomes 255; empty if unknown.
    """

    bands: tuple[int, ...] = ()
    stretch: Stretch = ()

    def __bool__(self) -> bool:
        return bool(self.bands or self.stretch)

    def __str__(self) -> str:
        flags = [f"--bands {','.join(map(str, self.bands))}"] if self.bands else []
        flags += [f"--stretch {','.join(f'{low:g}:{high:g}' for low, high in self.stretch)}"] if self.stretch else []
        return " ".join(flags)

    def over(self, other: Rendering) -> Rendering:
        """Complete it by what another one says."""
        return Rendering(self.bands or other.bands, self.stretch or other.stretch)

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"bands": list(self.bands), "stretch": [list(pair) for pair in self.stretch]}


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
        sound = all(type(band) is int and band > 0 for band in bands) and all(low < high for low, high in stretch)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError("malformed") from error
    if not sound or len(bands) not in (0, COLOURS) or len(stretch) not in (0, COLOURS):
        raise ValueError("neither none nor three bands and ranges")
    return Rendering(bands, stretch)


class Product(NamedTuple):
    """A product of an imagery provider.

    Attributes:
      what: it is, and how many bands its files have.
      rendering: of its files.
      source: of the order of the bands and of the stretch.
    """

    what: str
    rendering: Rendering
    source: str


_REFLECTANCE: Stretch = ((0, 3000),) * 3

PRODUCTS = {
    "planet-analytic": Product(
        "PlanetScope analytic, 4 bands: blue, green, red, near infrared",
        Rendering((3, 2, 1), ((1172, 6339), (1881, 7969), (2225, 10106))),
        "Planet's imagery product specification; stretch fitted to four clear chips of `Understanding the Amazon from "
        "Space` and their JPEGs",
    ),
    "planet-analytic-sr": Product(
        "PlanetScope surface reflectance, 4 bands: blue, green, red, near infrared",
        Rendering((3, 2, 1), _REFLECTANCE),
        "Planet's imagery product specification: reflectance times 10,000",
    ),
    "planet-analytic-8b-sr": Product(
        "PlanetScope surface reflectance, 8 bands: coastal blue, blue, green I, green, yellow, red, red edge, near "
        "infrared",
        Rendering((6, 4, 2), _REFLECTANCE),
        "Planet's imagery product specification: reflectance times 10,000",
    ),
}
"""Products by name."""
