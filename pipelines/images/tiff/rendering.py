"""Read bands of a TIFF as numbers, whatever they are, and make a picture of them as the user says.

Pillow reads no more than one band of 16 bits. But a row of pixels of several bands is, byte by byte, a longer row of
one band; so it is described to Pillow as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.images.layout import Layout, UntrustedColoursError
from pipelines.images.loading import STRIP_PIXELS, open_image
from pipelines.images.rendering import COLOURS
from pipelines.images.tiff.directories import Directory
from pipelines.images.tiff.fill_order import put_highest_first
from pipelines.images.tiff.places import check_places
from pipelines.images.tiff.predictors import FLOATING, HORIZONTAL, undo
from pipelines.images.tiff.rasters import Raster
from pipelines.images.tiff.rewriting import leave_pixels
from pipelines.images.tiff.samples import read_no_data
from pipelines.images.tiff.scaling import find_offset
from pipelines.images.tiff.sparse import fill_missing
from pipelines.images.tiff.strips import check_pieces, pick_planes, read_predictor
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA,
    FLOAT,
    HEIGHT,
    PHOTOMETRIC,
    PLANES,
    PREDICTOR,
    PROFILE,
    SAMPLE_FORMAT,
    SAMPLES,
    SEPARATE_PLANES,
    TILE_WIDTH,
    UNCOMPRESSED,
    WIDTH,
    Tags,
)


class Values(NamedTuple):
    """Some rows of a band.

    Attributes:
      colour: 0 for red, 1 for green, 2 for blue.
      top: the first row.
      samples: [rows, width], as they are stored.
      lacks: bool[rows, width], whether they stand for no data.
    """

    colour: int
    top: int
    samples: NDArray[Any]
    lacks: NDArray[np.bool_]


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
      ImageError: some of the pixels are missing, or it is unknown what their values stand for.
    """
    if not raster.is_settled:
        raster = _settle(directory, raster, tags, data)
    levels = np.empty((len(raster.bands), tags[HEIGHT][0], tags[WIDTH][0]), np.uint8)
    lacks_data = False
    if holes is not None:
        holes[:] = True
    for colour, top, samples, lacks in read_bands(directory, raster, tags, data):
        lacks_data |= bool(lacks.any())
        if holes is not None:
            holes[top : top + len(samples)] &= lacks
        shown = stretched(samples, *raster.stretch[colour]) if raster.stretch else samples
        levels[colour, top : top + len(samples)] = shown
    named = ["no_data_kept"] * lacks_data
    named += name_bands(raster.bands, raster.number)
    named += ["offset_removed"] * bool(raster.offset)
    named += ["stretched"] * bool(raster.stretch) + ["grayscale"] * (raster.number == 1)
    named += ["mask_dropped"] * directory.has_mask + ["icc_ignored"] * (PROFILE in directory.texts)
    planes = [Image.fromarray(plane) for plane in levels]
    return Image.merge("RGB", planes * (len(COLOURS) // len(planes))), named


def read_bands(directory: Directory, raster: Raster, tags: Tags, data: bytes) -> Iterator[Values]:
    """Read the values of the bands of a raster; the arguments are those of `render`.

    Raises:
      ImageError: some of the pixels are missing.
    """
    # Some programs end the file without saying that no directory follows.
    data += bytes(max(0, directory.end + directory.form.inline - len(data)))
    check_places(data, directory, tags)
    data, tags = put_highest_first(data, tags)
    no_data = read_no_data(directory)
    data, tags = fill_missing(data, tags, directory.tables, no_data, directory.form.order, raster.type)
    lacking = [value for value in (no_data, raster.fill) if value is not None]
    for colour, top, samples in _read(directory, raster, tags, data):
        yield Values(colour, top, samples, _lacks_data(samples, lacking))


def _settle(directory: Directory, raster: Raster, tags: Tags, data: bytes) -> Raster:
    """Look among the values of a chip for what its file does not say."""
    if raster.percentiles:
        raise UntrustedColoursError(
            "raster no larger than a window: percentiles are those of a scene",
            "give values, e.g. --stretch 0:3000",
        )
    red = [values.samples[~values.lacks] for values in read_bands(directory, raster, tags, data) if not values.colour]
    return raster.shifted(find_offset([np.concatenate(red)], raster.product, of_scene=False))


def name_bands(bands: tuple[int, ...], number: int) -> list[str]:
    """Name as repairs which bands of several are shown; `number` counts all."""
    if number == 1:
        return []
    between = "" if max(bands) < 9 else "_"
    named = [f"bands_{between.join(str(band + 1) for band in bands)}"] * (bands != (0, 1, 2))
    return named + ["extra_band_dropped"] * (number > 3)


def _lacks_data(samples: NDArray[Any], lacking: Sequence[float]) -> NDArray[np.bool_]:
    lacks = np.isnan(samples) if samples.dtype.kind == "f" else np.zeros(samples.shape, np.bool_)
    for value in lacking:
        lacks |= samples == value
    return lacks


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
        told[SAMPLE_FORMAT] = (FLOAT,)
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
