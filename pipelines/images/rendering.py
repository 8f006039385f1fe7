"""What the user says of rasters: which of their bands are red, green and blue, and which values are black and white."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

from pipelines.images.products import PRODUCTS, Stretch, ask_for_stretch

COLOURS = ("red", "green", "blue")
PERCENT = "p"
"""Before the ends of a range, marks percentiles."""
# More than any sensor measures; beyond it, arithmetic in single precision overflows.
_LARGEST = 1e30


class Rendering(NamedTuple):
    """How bands become a picture.

    Attributes:
      bands: numbers of those that are red, green and blue, from 1, as GDAL counts; empty where the file says it.
      stretch: for red, green and blue, the value that becomes 0 and the one that becomes 255; empty if unknown, or if
        the product says it.
      product: that names the bands, one of `PRODUCTS`; no other files have them. Empty if the user names them.
      percentiles: in place of `stretch`, of the values of a scene, 0 to 100; empty once they were looked for.
      offset: of the values of an image, where its product's files differ in it; None before it was looked for.
    """

    bands: tuple[int, ...] = ()
    stretch: Stretch = ()
    product: str = ""
    percentiles: Stretch = ()
    offset: int | None = None

    def __bool__(self) -> bool:
        return bool(self.bands or self.stretch or self.product or self.percentiles)

    def __str__(self) -> str:
        known = rendering_of(self.product)
        flags = [f"--product={self.product}"] if self.product else []
        flags += [f"--bands={','.join(map(str, self.bands))}"] if self.bands != known.bands else []
        flags += [f"--stretch={_ranges(self.stretch, '')}"] if self.stretch and self.stretch != known.stretch else []
        flags += [f"--stretch={_ranges(self.percentiles, PERCENT)}"] if self.percentiles else []
        return " ".join(flags)

    def over(self, other: Rendering) -> Rendering:
        """Complete it by what another one says."""
        of_bands = self if self.bands or self.product else other
        if not self.product and other.product and not PRODUCTS[other.product].bands:
            # Which bands are colours is not what makes it this product.
            of_bands = other._replace(bands=self.bands or other.bands)
        of_values = self if self.stretch or self.percentiles or self.product else other
        return Rendering(of_bands.bands, of_values.stretch, of_bands.product, of_values.percentiles)

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        described: dict[str, Any] = {"bands": list(self.bands), "stretch": [list(pair) for pair in self.stretch]}
        described |= {"product": self.product} if self.product else {}
        return described | ({"percentiles": [list(pair) for pair in self.percentiles]} if self.percentiles else {})


NO_RENDERING = Rendering()
"""Nothing is said of rasters; they are refused unless their files say enough."""


def rendering_of(product: str) -> Rendering:
    """Return what the name of a product says; nothing if it is empty.

    Raises:
      KeyError: there is no product of this name.
    """
    if not product:
        return NO_RENDERING
    known = PRODUCTS[product]
    return Rendering(known.bands, () if known.offset else known.stretch, product)


def read_rendering(described: Any) -> Rendering:
    """Return a rendering from JSON.

    Raises:
      ValueError: it is malformed.
    """
    try:
        bands = tuple(described["bands"])
        stretch, percentiles = (
            tuple((low, high) for low, high in ranges)
            for ranges in (described["stretch"], described.get("percentiles", []))
        )
        product = described.get("product", "")
        known = rendering_of(product).bands in ((), bands) and isinstance(product, str)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ValueError("malformed, or of an unknown product") from error
    sound = all(type(band) is int and band > 0 for band in bands) and all(is_range(*pair) for pair in stretch)
    sound = sound and all(is_range(*pair) and pair[0] >= 0 and pair[1] <= 100 for pair in percentiles)
    triples = all(len(values) in (0, len(COLOURS)) for values in (bands, stretch, percentiles))
    if not sound or not known or not triples or (stretch and percentiles):
        raise ValueError("neither none nor three bands and ranges")
    return Rendering(bands, stretch, product, percentiles)


def ask_for_values(rendering: Rendering) -> str:
    """Return the remedy where neither percentiles nor a product without a stretch say what is black and white."""
    if rendering.percentiles:
        return "give values, e.g. --stretch 0:3000: percentiles are looked for in TIFFs only"
    product = PRODUCTS[rendering.product] if rendering.product else None
    return ask_for_stretch(rendering.product) if product and product.satellite else "give --stretch LOW:HIGH"


def pack_rendering(rendering: Rendering) -> str:
    """Return a rendering as text, also one that holds what was looked for in an image."""
    return json.dumps(rendering)


@lru_cache(maxsize=1024)
def unpack_rendering(packed: str) -> Rendering:
    """Return a rendering from what `pack_rendering` made of it."""
    bands, stretch, product, percentiles, offset = json.loads(packed)
    ranges = (tuple((low, high) for low, high in pairs) for pairs in (stretch, percentiles))
    return Rendering(tuple(bands), next(ranges), product, next(ranges), offset)


def is_range(low: Any, high: Any) -> bool:
    """Return whether these are numbers of which the first is less, and that can be computed with."""
    # Not `isinstance`: to Python, true is a number.
    numbers = all(type(end) in (int, float) and abs(end) < _LARGEST for end in (low, high))
    return numbers and high - low > 1 / _LARGEST


def _written(value: float) -> str:
    return str(value).removesuffix(".0")


def _ranges(stretch: Stretch, mark: str) -> str:
    """Write ranges as `--stretch` takes them."""
    return ",".join(f"{mark}{_written(low)}:{mark}{_written(high)}" for low, high in stretch)
