"""What a TIFF shows where it leaves out so much that nothing of it is there to be decoded."""

from __future__ import annotations

from pipelines.images.tiff.parts import DividedTiff
from pipelines.images.tiff.rewriting import HEADER, write_tiff
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA,
    HEIGHT,
    METADATA,
    NO_DATA,
    PALETTE,
    PHOTOMETRIC,
    PLANES,
    PROFILE,
    RGB,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_OFFSETS,
    STRIP_ROWS,
    STRIP_SIZES,
    UNCOMPRESSED,
    WHITE_IS_ZERO,
    WIDTH,
    YCBCR,
)

_OF_A_PIXEL = (BITS, PHOTOMETRIC, SAMPLES, PLANES, EXTRA, SAMPLE_FORMAT, COLOUR_MAP)
_WITH_GAPS = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR)


def write_gap(image: DividedTiff) -> bytes | None:
    """Write a TIFF of two pixels of an image, one below the other: the file leaves out the second.

    Returns:
      The file; None if the image leaves out nothing, or is of colours in which no value stands for no data.
    """
    tags = {tag: values for tag, values in image.tags.items() if tag in _OF_A_PIXEL}
    photometric = tags.get(PHOTOMETRIC, (BLACK_IS_ZERO,))[0]
    if all(map(all, zip(image.grid.offsets, image.grid.sizes, strict=True))) or photometric not in _WITH_GAPS:
        return None
    # A value for no data is one of red, green and blue, whatever a JPEG makes of these.
    tags[PHOTOMETRIC] = (RGB if photometric == YCBCR else photometric,)
    planes = tags.get(SAMPLES, (1,))[0] if image.is_separate else 1
    size = -(-tags.get(BITS, (1,))[0] * tags.get(SAMPLES, (1,))[0] // planes // 8)
    offsets = tuple(offset for plane in range(planes) for offset in (HEADER + plane * size, 0))
    tags |= {WIDTH: (1,), HEIGHT: (2,), STRIP_ROWS: (1,), STRIP_OFFSETS: offsets, STRIP_SIZES: (size, 0) * planes}
    further = {tag: image.further[tag] for tag in (METADATA, NO_DATA, PROFILE) if tag in image.further}
    return write_tiff(
        image.directory.form.order, [bytes(size)] * planes, {**tags, COMPRESSION: (UNCOMPRESSED,)}, further
    )
