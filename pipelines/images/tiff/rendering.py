"""Read bands of a TIFF as numbers, whatever they are, and make a picture of them as the user says.

Pillow reads no more than one band of 16 bits. But a row of pixels of several bands is, byte by byte, a longer row of
one band; so it is described to Pillow as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.images.layout import Layout, UnsupportedImageError, UntrustedColoursError
from pipelines.images.loading import STRIP_PIXELS, open_image
from pipelines.images.rendering import COLOURS, PRODUCTS, Rendering
from pipelines.images.tiff.bands import check_single, find_contradiction, named_colours
from pipelines.images.tiff.directories import (
    COLOUR_MAP,
    EXTRA,
    METADATA,
    NO_DATA,
    PROFILE,
    SAMPLE_FORMAT,
    Directory,
)
from pipelines.images.tiff.fill_order import put_highest_first
from pipelines.images.tiff.places import check_places
from pipelines.images.tiff.predictors import FLOATING, HORIZONTAL, undo
from pipelines.images.tiff.rewriting import leave_pixels
from pipelines.images.tiff.samples import BLACK_IS_ZERO, KINDS, RGB
from pipelines.images.tiff.sparse import fill_missing
from pipelines.images.tiff.strips import (
    BITS,
    COMPRESSION,
    HEIGHT,
    JPEG,
    PHOTOMETRIC,
    PLANES,
    PREDICTOR,
    SAMPLES,
    SEPARATE_PLANES,
    TILE_WIDTH,
    UNCOMPRESSED,
    WEBP,
    WIDTH,
    Tags,
    check_pieces,
    pick_planes,
    read_predictor,
)

_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_TYPES = {(_UNSIGNED, 8): "u1", (_UNSIGNED, 16): "u2", (_SIGNED, 16): "i2", (_FLOAT, 32): "f4"}
_MOST_BANDS = 250


class Raster(NamedTuple):
    """Bands of a file that are rendered.

    Attributes:
      bands: numbers of those that are red, green and blue, or the number of the only one, from 0.
      number: of bands in the file.
      type: of their samples, as NumPy names it, without the order of bytes.
      stretch: for each of `bands`; empty for samples of 8 bits, which are levels.
    """

    bands: tuple[int, ...]
    number: int
    type: str
    stretch: tuple[tuple[float, float], ...]


def find_raster(directory: Directory, rendering: Rendering) -> Raster | None:
    """Return the bands of a file that are rendered; None for a picture that needs no rendering.

    Raises:
      ImageError: it is unknown which bands are colours, or how bright white is, or they are not supported.
    """
    tags = directory.tags
    number, photometric = tags.get(SAMPLES, (1,))[0], tags.get(PHOTOMETRIC, (BLACK_IS_ZERO,))[0]
    # Programs write too many values.
    deep = max(tags.get(BITS, (1,))[: max(1, number)]) > 8
    is_concerned = rendering.stretch if deep else number >= 3 and rendering.bands
    if rendering.product and not (deep and number > 1):
        # All products are deep and have several bands. A picture in the same folder has its own colours.
        return None
    if not number or photometric not in (BLACK_IS_ZERO, RGB) or not is_concerned:
        return None
    kind = _read_type(tags, number)
    if rendering.product and number != PRODUCTS[rendering.product].number:
        raise UntrustedColoursError(
            f"TIFF of {_count(number)}, but files of {rendering.product} have {PRODUCTS[rendering.product].number}",
            "choose its product, or say --bands and --stretch",
        )
    if max(rendering.bands, default=0) > number:
        raise UntrustedColoursError(f"TIFF of {_count(number)}, but --bands names band {max(rendering.bands)}")
    if number == 1:
        check_single(directory.texts.get(METADATA, b""))
        if len(set(rendering.stretch)) != 1:
            raise UntrustedColoursError("TIFF of one band, but --stretch says three ranges", "give it one range")
        return Raster((0,), number, kind, rendering.stretch[:1])
    return Raster(_find_bands(directory, number, rendering), number, kind, rendering.stretch if deep else ())


def render(
    directory: Directory, raster: Raster, tags: Tags, data: bytes, holes: NDArray[np.bool_] | None = None
) -> tuple[Image.Image, list[str]]:
    """Make a picture of the bands of a raster.

    Args:
      directory: of the image.
      raster: its bands.
      tags: of the directory, with tiles named so.
      data: the file.
      holes: bool[height, width], receives where no colour holds data.

    Returns:
      An image of mode RGB, and the repairs in the order applied.

    Raises:
      ImageError: some of the pixels are missing.
    """
    # Some programs end the file without saying that no directory follows.
    data += bytes(max(0, directory.end + directory.form.inline - len(data)))
    check_places(data, directory, tags)
    data, tags = put_highest_first(data, tags)
    no_data = _read_no_data(directory, raster.type)
    data, tags = fill_missing(data, tags, directory.tables, no_data, directory.form.order, raster.type)
    levels = np.empty((len(raster.bands), tags[HEIGHT][0], tags[WIDTH][0]), np.uint8)
    lacks_data = False
    if holes is not None:
        holes[:] = True
    for colour, top, samples in _read(directory, raster, tags, data):
        lacks = _lacks_data(samples, no_data)
        lacks_data |= bool(lacks.any())
        if holes is not None:
            holes[top : top + len(samples)] &= lacks
        shown = stretched(samples, *raster.stretch[colour]) if raster.stretch else samples
        levels[colour, top : top + len(samples)] = shown
    named = ["no_data_kept"] * lacks_data
    named += name_bands(raster.bands, raster.number)
    named += ["stretched"] * bool(raster.stretch) + ["grayscale"] * (raster.number == 1)
    named += ["mask_dropped"] * directory.has_mask + ["icc_ignored"] * (PROFILE in directory.texts)
    planes = [Image.fromarray(plane) for plane in levels]
    return Image.merge("RGB", planes * (COLOURS // len(planes))), named


def name_bands(bands: tuple[int, ...], number: int) -> list[str]:
    """Name as repairs which bands of several are shown; `number` counts all."""
    if number == 1:
        return []
    between = "" if max(bands) < 9 else "_"
    named = [f"bands_{between.join(str(band + 1) for band in bands)}"] * (bands != (0, 1, 2))
    return named + ["extra_band_dropped"] * (number > 3)


def _lacks_data(samples: NDArray[Any], no_data: float | None) -> NDArray[np.bool_]:
    lacks = np.isnan(samples) if samples.dtype.kind == "f" else np.zeros((), np.bool_)
    lacking: NDArray[np.bool_] = lacks if no_data is None else lacks | (samples == no_data)
    return lacking


def _read_no_data(directory: Directory, kind: str) -> float | None:
    """Return the value that stands for no data, if a sample can have it."""
    try:
        value = float(directory.texts.get(NO_DATA, b"").strip(b"\0 \n"))
    except ValueError:
        return None
    with np.errstate(all="ignore"):
        stored = float(np.array(value).astype(kind))
    # GDAL writes floating-point numbers with more or fewer digits than samples have.
    return stored if kind == "f4" or stored == value else None


def _read(directory: Directory, raster: Raster, tags: Tags, data: bytes) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield for each colour, from 0, and each strip of some rows the first of them and its samples: [rows, width]."""
    if raster.number > 1 and tags.get(PLANES, (1,))[0] == SEPARATE_PLANES:
        for colour, band in enumerate(raster.bands):
            for top, samples in _read_strips(directory, pick_planes(tags, [band]), raster, data):
                yield colour, top, samples[..., 0]
        return
    for top, samples in _read_strips(directory, tags, raster, data):
        for colour, band in enumerate(raster.bands):
            yield colour, top, samples[..., band]


def _read_type(tags: Tags, number: int) -> str:
    bits = set(tags.get(BITS, (1,))[:number])
    formats = {_UNSIGNED if kind == _UNDEFINED else kind for kind in tags.get(SAMPLE_FORMAT, (_UNSIGNED,))[:number]}
    kind = _TYPES.get((min(formats), min(bits))) if len(bits) == len(formats) == 1 else None
    if number > _MOST_BANDS:
        raise UnsupportedImageError(f"TIFF of {number} bands: more than {_MOST_BANDS} are not supported")
    if kind is None:
        raise UnsupportedImageError(
            f"TIFF of {_count(number)} with {KINDS.get(max(formats), 'undefined')} samples of {max(bits)} bits: of "
            "rasters, unsigned integers of 8 and 16 bits, signed ones of 16 and floating-point numbers of 32 are "
            "supported, the same in all bands"
        )
    if tags.get(COMPRESSION, (1,))[0] in (JPEG, WEBP):
        raise UnsupportedImageError("raster compressed with JPEG or WebP is not supported")
    return kind


def _find_bands(directory: Directory, number: int, rendering: Rendering) -> tuple[int, ...]:
    metadata = directory.texts.get(METADATA, b"")
    bands = tuple(band - 1 for band in rendering.bands) or named_colours(metadata, number)
    contradiction = find_contradiction(metadata, bands) if bands and rendering.product else None
    if contradiction:
        raise UntrustedColoursError(
            f"TIFF {contradiction}, but in {rendering.product} red, green and blue are bands "
            f"{', '.join(map(str, rendering.bands))}",
            "say --bands and --stretch",
        )
    if not bands:
        raise UntrustedColoursError(
            f"TIFF of {number} bands that does not say which are red, green and blue", "say it with --bands"
        )
    return bands


def _count(bands: int) -> str:
    return f"{bands} band{'s' * (bands > 1)}"


def _read_strips(directory: Directory, tags: Tags, raster: Raster, data: bytes) -> Iterator[tuple[int, NDArray[Any]]]:
    """Read bands that follow one another pixel by pixel, or a single one; yield row and [rows, width, bands].

    An array of all samples would be held besides Pillow's image of them, twice while it is made.
    """
    number, width, height = tags.get(SAMPLES, (1,))[0], tags[WIDTH][0], tags[HEIGHT][0]
    told = {tag: values for tag, values in tags.items() if tag not in (EXTRA, COLOUR_MAP, SAMPLE_FORMAT)}
    told |= {SAMPLES: (1,), BITS: tags[BITS][:1], PHOTOMETRIC: (BLACK_IS_ZERO,), PLANES: (1,)}
    columns = tags.get(TILE_WIDTH, (width,))[0]
    predictor = read_predictor(tags)
    # Of what is undefined, libtiff says so.
    is_predicted = number > 1 and (predictor == HORIZONTAL or (predictor == FLOATING and raster.type == "f4"))
    if is_predicted:
        # The difference is that to the same band of the pixel before, which Pillow does not know of.
        told[PREDICTOR] = (1,)
        # What a tile has beyond the edge of the image is a part of its rows.
        told[WIDTH] = (-(-width // columns) * columns,)
    told |= {tag: (told[tag][0] * number,) for tag in (WIDTH, TILE_WIDTH) if tag in told}
    if raster.type == "f4":
        told[SAMPLE_FORMAT] = (_FLOAT,)
    check_pieces(data, told, b"")
    # libtiff turns the bytes of what it unpacks around, and Pillow does so again.
    is_turned = raster.type == "f4" and directory.form.order == ">" and tags.get(COMPRESSION, (1,))[0] != UNCOMPRESSED
    # Pillow would count samples, not pixels, and those have been counted.
    Image.MAX_IMAGE_PIXELS = None
    with open_image(leave_pixels(directory, data, told), Layout("tiff", told[WIDTH][0], height)) as image:
        image.load()
        rows = max(1, STRIP_PIXELS // image.width)
        for top in range(0, height, rows):
            strip = image.crop((0, top, image.width, min(top + rows, height)))
            samples = np.asarray(strip).reshape(strip.height, -1, number)
            samples = samples.byteswap() if is_turned else samples
            samples = undo(samples, predictor, columns, directory.form.order) if is_predicted else samples
            samples = samples[:, :width]
            yield top, samples.view(samples.dtype.str.replace("u", "i")) if raster.type == "i2" else samples


def stretched(samples: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Scale values so that `low` becomes 0 and `high` 255; what is beyond them, or no number, is 0 or 255 as well."""
    scaled = np.subtract(samples, np.float32(low), dtype=np.float32)
    scaled *= np.float32(255 / (high - low))
    np.clip(scaled, 0, 255, out=scaled)
    scaled[np.isnan(scaled)] = 0
    levels: NDArray[np.uint8] = np.rint(scaled, out=scaled).astype(np.uint8)
    return levels
