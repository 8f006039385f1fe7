"""Find the bands of a TIFF that are shown as the user says, and the values that are black and white."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.layout import UnsupportedImageError, UntrustedColoursError
from pipelines.images.products import PRODUCTS, Product, Stretch
from pipelines.images.rendering import COLOURS, Rendering
from pipelines.images.tiff.bands import check_single, find_contradiction, named_colours, numbered_colours
from pipelines.images.tiff.directories import Directory
from pipelines.images.tiff.samples import remedy_of
from pipelines.images.tiff.scaling import read_offset
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    COMPRESSION,
    FLOAT,
    FORMATS,
    JPEG,
    METADATA,
    PHOTOMETRIC,
    RGB,
    SAMPLE_FORMAT,
    SAMPLES,
    SIGNED,
    UNDEFINED,
    UNSIGNED,
    WEBP,
    Tags,
)

_TYPES = {(UNSIGNED, 8): "u1", (UNSIGNED, 16): "u2", (SIGNED, 16): "i2", (FLOAT, 32): "f4"}
_MOST_BANDS = 250
GRAY = (1, 1, 1)
"""The only band is red, green and blue."""


class Raster(NamedTuple):
    """Bands of a file that are rendered.

    Attributes:
      bands: numbers of those that are red, green and blue, or the number of the only one, from 0.
      number: of bands in the file.
      type: of their samples, as NumPy names it, without the order of bytes.
      stretch: for each of `bands`; empty for samples of 8 bits, which are levels, and where `percentiles` are not.
      percentiles: for each of `bands`, of the scene's values: they have to be looked for before it is shown.
      offset: that the stretch makes up for; None if it has to be looked for among the values.
      product: that the file is of, one of `PRODUCTS`; empty if none was named.
    """

    bands: tuple[int, ...]
    number: int
    type: str
    stretch: Stretch
    percentiles: Stretch = ()
    offset: int | None = 0
    product: str = ""

    @property
    def fill(self) -> int | None:
        """A value that stands for no data although the file may not say so."""
        return PRODUCTS[self.product].fill if self.product else None

    @property
    def is_settled(self) -> bool:
        """Whether nothing has to be looked for among the values."""
        return not self.percentiles and self.offset is not None

    def shifted(self, offset: int) -> Raster:
        """Settle it by the offset of its values."""
        return self._replace(stretch=tuple((low + offset, high + offset) for low, high in self.stretch), offset=offset)


def find_raster(directory: Directory, rendering: Rendering) -> Raster | None:
    """Return the bands of a file that are rendered; None for a picture that needs no rendering.

    Raises:
      ImageError: it is unknown which bands are colours, or how bright white is, or they are not supported.
    """
    tags = directory.tags
    number, photometric = tags.get(SAMPLES, (1,))[0], tags.get(PHOTOMETRIC, (BLACK_IS_ZERO,))[0]
    # Programs write too many values.
    deep = max(tags.get(BITS, (1,))[: max(1, number)]) > 8
    product = PRODUCTS[rendering.product] if rendering.product else None
    if product and not _may_be_of(product, number, deep, rendering):
        return None
    is_said = rendering.stretch or rendering.percentiles or rendering.product
    is_concerned = is_said if deep else number >= 3 and rendering.bands
    if not number or photometric not in (BLACK_IS_ZERO, RGB) or not is_concerned:
        return None
    kind = _read_type(tags, number)
    if product:
        _check_product(rendering.product, product, number, kind)
    if max(rendering.bands, default=0) > number:
        raise UntrustedColoursError(
            f"TIFF of {quantity(number, 'band')}, but --bands names band {max(rendering.bands)}"
        )
    bands = _find_bands(directory, number, rendering) if number > 1 else _find_only(directory, rendering)
    if not deep:
        return Raster(bands, number, kind, ())
    stretch, percentiles = rendering.stretch[: len(bands)], rendering.percentiles[: len(bands)]
    raster = Raster(bands, number, kind, stretch, percentiles, rendering.offset or 0, rendering.product)
    if product is None or rendering.percentiles:
        return raster
    if rendering.stretch and (product.offset or rendering.stretch != product.stretch):
        # As the user says, whatever the values stand for.
        return raster
    raster = raster._replace(stretch=product.stretch[: len(bands)])
    stated = read_offset(directory.texts.get(METADATA, b""), rendering.product, bands)
    return raster._replace(offset=None) if stated is None else raster.shifted(stated)


def _may_be_of(product: Product, number: int, deep: bool, rendering: Rendering) -> bool:
    """Return whether a file is not a picture that lies among those of a product, and has its own colours."""
    if product.bits == 8:
        return number > len(COLOURS) and not deep
    return deep and (number > 1 or rendering.bands == GRAY)


def _check_product(name: str, product: Product, number: int, kind: str) -> None:
    if product.number not in (0, number):
        raise UntrustedColoursError(
            f"TIFF of {quantity(number, 'band')}, but files of {name} have {product.number}",
            "choose its product, or give --bands and --stretch",
        )
    if kind == "f4":
        raise UntrustedColoursError(
            f"TIFF with floating-point samples, but those of {name} are integers", "give --bands and --stretch"
        )


def _read_type(tags: Tags, number: int) -> str:
    bits = set(tags.get(BITS, (1,))[:number])
    formats = {UNSIGNED if kind == UNDEFINED else kind for kind in tags.get(SAMPLE_FORMAT, (UNSIGNED,))[:number]}
    kind = _TYPES.get((min(formats), min(bits))) if len(bits) == len(formats) == 1 else None
    if number > _MOST_BANDS:
        raise UnsupportedImageError(f"TIFF of {quantity(number, 'band')}: more than {_MOST_BANDS} are not supported")
    if kind is None:
        raise UnsupportedImageError(
            f"TIFF of {quantity(number, 'band')} with {FORMATS.get(max(formats), 'undefined')} samples of "
            f"{quantity(max(bits), 'bit')}: of rasters, unsigned integers of 8 and 16 bits, signed ones of 16 and "
            "floating-point numbers of 32 are supported, the same in all bands",
            remedy_of(formats),
        )
    if tags.get(COMPRESSION, (1,))[0] in (JPEG, WEBP):
        raise UnsupportedImageError(
            "raster compressed with JPEG or WebP is not supported",
            "rewrite it, e.g. with gdal_translate -co COMPRESS=DEFLATE",
        )
    return kind


def _find_only(directory: Directory, rendering: Rendering) -> tuple[int, ...]:
    check_single(directory.texts.get(METADATA, b""))
    if len(set(rendering.stretch or rendering.percentiles)) > 1:
        raise UntrustedColoursError("TIFF of one band, but --stretch says three ranges", "give it one range")
    return (0,)


def _find_bands(directory: Directory, number: int, rendering: Rendering) -> tuple[int, ...]:
    metadata = directory.texts.get(METADATA, b"")
    satellite = PRODUCTS[rendering.product].satellite if rendering.product else ()
    bands = tuple(band - 1 for band in rendering.bands) or named_colours(metadata, number)
    bands = bands or (numbered_colours(metadata, number, satellite) if satellite else None)
    contradiction = find_contradiction(metadata, bands, satellite) if bands and rendering.product else None
    if contradiction and rendering.bands:
        raise UntrustedColoursError(
            f"TIFF {contradiction}, but in {rendering.product} red, green and blue are bands "
            f"{', '.join(map(str, rendering.bands))}",
            "give --bands and --stretch",
        )
    if contradiction:
        raise UntrustedColoursError(
            f"TIFF {contradiction}, but red, green and blue of {rendering.product} are bands "
            f"{', '.join(map(str, satellite))} of the satellite",
            "give --bands and --stretch",
        )
    if not bands:
        # Percentiles of a chip are refused, too, which nobody should learn only then.
        values = ", and if it is no larger than a window, values in place of percentiles, e.g. --stretch 0:3000"
        raise UntrustedColoursError(
            f"TIFF of {quantity(number, 'band')} that does not say which are red, green and blue",
            "give --bands" + values * bool(rendering.percentiles),
        )
    return bands
