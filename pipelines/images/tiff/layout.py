"""Read the layout of a TIFF or BigTIFF from the directory of its main image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pipelines.images.layout import DamagedImageError, Layout, UnsupportedImageError
from pipelines.images.parts import Data
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.images.tiff.directories import Directory, read_directory
from pipelines.images.tiff.fill_order import put_highest_first
from pipelines.images.tiff.places import check_places
from pipelines.images.tiff.rasters import Raster, find_raster
from pipelines.images.tiff.rendering import Values, read_bands, render
from pipelines.images.tiff.rewriting import leave_pixels
from pipelines.images.tiff.samples import Samples, read_no_data, read_samples
from pipelines.images.tiff.sparse import fill_missing
from pipelines.images.tiff.strips import check_pieces, name_tiles, pick_planes, read_jpegs
from pipelines.images.tiff.tags import (
    BITS,
    COMPRESSION,
    DEFLATE,
    FILL_ORDER,
    HEIGHT,
    JPEG,
    LZMA,
    LZW,
    OLD_DEFLATE,
    ORIENTATION,
    PACK_BITS,
    PALETTE,
    PHOTOMETRIC,
    PROFILE,
    UNCOMPRESSED,
    WEBP,
    WHITE_IS_ZERO,
    WIDTH,
    YCBCR,
    ZSTD,
    Tags,
)
from pipelines.images.tiff.webp import unpack_webps
from pipelines.images.tiff.ycbcr import make_ycbcr_whole

_COMPRESSIONS = (UNCOMPRESSED, LZW, JPEG, DEFLATE, PACK_BITS, OLD_DEFLATE, LZMA, ZSTD, WEBP)
# Their decoders silently leave uninitialized memory where they cannot read: perhaps the pixels of another image.
_FAX_CODES = {2: "modified Huffman code", 3: "group 3 fax code", 4: "group 4 fax code", 32771: "modified Huffman code"}
# Pillow has no decoder for most of these.
_NOT_READ = {
    **{6: "old-style JPEG", 9: "JBIG", 10: "JBIG", 32766: "the code of NeXT", 32809: "the code of ThunderScan"},
    **{32908: "the code of Pixar", 32909: "the code of Pixar", 32947: "the code of Kodak DCS", 34661: "JBIG"},
    **{33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34676: "the code of SGI"},
    **{34677: "the code of SGI", 34887: "LERC", 34892: "lossy JPEG of DNG", 34933: "PNG", 34934: "JPEG XR"},
    **{22610: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL"},
}
# LERC and JPEG XL.
_GDALS = (34887, 50002, 52546)


def read_tiff(data: Data, rendering: Rendering = NO_RENDERING) -> Layout:
    """Read the directory of the main image of a TIFF or BigTIFF, and refuse it if its colours are ambiguous.

    Args:
      data: the file.
      rendering: of files that are no picture by themselves.

    Raises:
      ImageError: it is damaged, not supported, or its colours are unknown.
    """
    directory = read_directory(data)
    compression = directory.tags.get(COMPRESSION, (1,))[0]
    _check_compression(compression)
    if raster := find_raster(directory, rendering):
        return _rendered(directory, raster)
    samples = read_samples(directory)
    tags = name_tiles(_tell(directory, samples.told))
    _check_sides(tags)
    no_data = read_no_data(directory)
    layout = Layout(
        "tiff",
        tags[WIDTH][0],
        tags[HEIGHT][0],
        samples.number,
        samples.bits,
        frames=directory.pictures,
        bands=samples.bands,
        left_out=(*samples.left_out, *["mask_dropped"] * directory.has_mask),
        gray=samples.gray,
        opacity=samples.opacity,
        is_premultiplied=samples.is_premultiplied,
        is_inverted=samples.is_inverted,
        no_data=_decoded_level(no_data, samples),
        orientation=_read_orientation(directory),
        profile=directory.texts.get(PROFILE),
        to_pixels=partial(_to_pixels, directory, tags, samples.planes, no_data),
    )
    jpegs = partial(read_jpegs, tags, samples.planes, directory.tables)
    return layout._replace(read_jpegs=jpegs) if compression == JPEG else layout


def read_values(data: bytes, raster: Raster) -> tuple[Layout, Iterator[Values]]:
    """Read the layout of a raster, and the values of its bands once they are asked for.

    Args:
      data: the file, or a part of it that is a file of its own.
      raster: its bands.

    Raises:
      ImageError: it is damaged; likewise what yields the values.
    """
    directory = read_directory(data)
    values = read_bands(directory, raster, name_tiles(_tell(directory, {})), data)
    return _rendered(directory, raster), values


def _rendered(directory: Directory, raster: Raster) -> Layout:
    tags = name_tiles(_tell(directory, {}))
    _check_sides(tags)
    return Layout(
        "tiff",
        tags[WIDTH][0],
        tags[HEIGHT][0],
        raster.number,
        tags[BITS][0],
        frames=directory.pictures,
        orientation=_read_orientation(directory),
        render=partial(render, directory, raster, tags),
    )


def _check_sides(tags: Tags) -> None:
    if WIDTH not in tags or HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: its width or height is missing")


def _tell(directory: Directory, told: Tags) -> Tags:
    """Return the tags of a file in the words of decoders."""
    tags = {**directory.tags, **told}
    if tags.get(FILL_ORDER, (1,))[0] not in (1, 2):
        # Other decoders ignore what is undefined.
        tags[FILL_ORDER] = (1,)
    return {tag: values for tag, values in tags.items() if values}


def _check_compression(compression: int) -> None:
    if compression in _FAX_CODES:
        raise UnsupportedImageError(
            f"TIFF compressed with the {_FAX_CODES[compression]} is not supported: its decoder hides damage"
        )
    if compression in _NOT_READ:
        remedy = "rewrite it, e.g. with gdal_translate -co COMPRESS=DEFLATE" if compression in _GDALS else ""
        raise UnsupportedImageError(f"TIFF compressed with {_NOT_READ[compression]} is not supported", remedy)
    if compression not in _COMPRESSIONS:
        raise UnsupportedImageError(f"TIFF of unknown compression {compression} is not supported")


def _decoded_level(no_data: float | None, samples: Samples) -> int | None:
    """Return what Pillow makes of the value that stands for no data."""
    if no_data is None:
        return None
    level = int(no_data)
    if samples.bits < 8 and samples.photometric != PALETTE:
        level *= 255 // ((1 << samples.bits) - 1)
    is_turned = samples.photometric == WHITE_IS_ZERO and not samples.is_inverted
    return 255 - level if is_turned else level


def _read_orientation(directory: Directory) -> int:
    [orientation, *_] = directory.tags.get(ORIENTATION, (1,))
    return orientation if orientation in range(1, 9) else 1


def _to_pixels(directory: Directory, tags: Tags, planes: tuple[int, ...], no_data: float | None, data: bytes) -> bytes:
    """Check the strips or tiles, leave out what no pixel depends on, and tell Pillow some tags in its own words."""
    # Some programs end the file without saying that no directory follows.
    data += bytes(max(0, directory.end + directory.form.inline - len(data)))
    if tags[PHOTOMETRIC][0] == YCBCR and tags.get(COMPRESSION, (1,))[0] != JPEG:
        return make_ycbcr_whole(directory, data, tags)
    check_places(data, directory, tags)
    data, tags = put_highest_first(data, tags)
    data, tags = unpack_webps(data, tags)
    data, tags = fill_missing(data, tags, directory.tables, no_data, directory.form.order)
    tags = pick_planes(tags, planes)
    check_pieces(data, tags, directory.tables)
    return leave_pixels(directory, data, tags)
