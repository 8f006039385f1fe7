"""Open and load image files, and let none pass of which a part is missing: decoders fill gaps without an error."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable

from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from pipelines.images.jpeg.layout import read_piece
from pipelines.images.jpeg.scans import lengthen
from pipelines.images.jpeg2000.layout import without_missing_packets
from pipelines.images.layout import DamagedImageError, Layout
from pipelines.images.png import holds_all_rows

STRIP_PIXELS = 4_000_000
"""Pixels compared or scaled at a time; doing so with a whole image would take several times its memory."""

# libjpeg silently fills what is missing at the end of a JPEG with this gray (127 where Pillow inverts).
_FILLING = frozenset((127, 128))


def open_image(data: bytes, layout: Layout) -> Image.Image:
    """Open an image file without decoding it."""
    # Pillow must not guess the format: its guess could differ from the format the layout was read for.
    image = Image.open(io.BytesIO(data), formats=(layout.format,))
    if layout.format == "jpeg" and layout.samples == 4 and layout.adobe_transform is None:
        # Pillow would invert all four components, but only Adobe's are stored inverted; inverting them back takes as
        # long as decoding.
        image.tile = [tile._replace(args=("CMYK", "")) for tile in image.tile]
    if layout.arithmetic:
        # libjpeg cannot wait for more data in an arithmetic code.
        image.decodermaxblock = len(data)
    return image


def load_whole(image: Image.Image, data: bytes, layout: Layout) -> None:
    """Decode an image.

    Args:
      image: as `open_image` opened it.
      data: its file.
      layout: of the same file.

    Raises:
      DamagedImageError: its pixels end too early.
    """
    if layout.format == "jpeg":
        _load_jpeg(image, data, layout)
    image.load()
    if layout.format == "png" and _may_lack_rows(image, data) and not holds_all_rows(data, layout):
        raise DamagedImageError("truncated PNG: its data ends before the last pixel")
    if layout.format == "jpeg2000" and not _holds_all_packets(data):
        raise DamagedImageError("truncated JPEG 2000: a tile's data ends before its last packet")
    for number, (jpeg, ends, band) in enumerate(layout.read_jpegs(data), 1):
        if _may_end_early(image, ends, band) and not _is_whole(jpeg):
            raise DamagedImageError(f"truncated TIFF: the data of JPEG {number} in it ends before its last pixel")


def _load_jpeg(image: Image.Image, data: bytes, layout: Layout) -> None:
    """Decode a JPEG, and refuse it if its pixels end too early although it has an end marker.

    Decoding it again with extra data at the end of each scan and restart interval yields the same pixels for a complete
    image, and different ones for an incomplete one. That is worth the time only if one of them ends in the filling or
    is too short for that, or if the image has several scans.
    """
    # With several scans a decoding keeps all of them in memory, so the two decodings must not be held at once.
    lengthened = None if layout.in_one_scan else _lengthened_checksum(data, layout)
    image.load()
    if layout.in_one_scan:
        if not _may_end_early(image, layout.ends()):
            return
        lengthened = _lengthened_checksum(data, layout)
    if lengthened is None or lengthened != _checksum(image):
        if layout.arithmetic:
            # By its standard, what is missing stands for zeros, which are also the shortest code of a plain area.
            raise DamagedImageError("arithmetic-coded JPEG whose last pixels need no data: they may be missing")
        raise DamagedImageError("truncated JPEG: its data ends before the last pixel")


def _lengthened_checksum(data: bytes, layout: Layout) -> int | None:
    """Decode a JPEG with extra data in its scans; return a checksum of the pixels, or None if it cannot be decoded."""
    try:
        longer = lengthen(data, layout.scan, one_scan=layout.in_one_scan, arithmetic=layout.arithmetic)
        with open_image(longer, layout) as image:
            return _checksum(image)
    except OSError:
        return None


def _may_end_early(image: Image.Image, ends: Iterable[tuple[int, int]], band: int | None = None) -> bool:
    """Return whether one of these pixels is filling in a band or, if none is given, in all; or there are no pixels."""
    pixels = [_is_filling(image, *end, band) for end in ends]
    return not pixels or any(pixels)


def _is_filling(image: Image.Image, column: int, row: int, band: int | None) -> bool:
    pixel = image.getpixel((column, row))
    levels = pixel if isinstance(pixel, tuple) else (pixel,)
    return _FILLING.issuperset(levels if band is None else levels[band : band + 1])


def _checksum(image: Image.Image) -> int:
    checksum, rows = 0, max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        checksum = zlib.crc32(strip.tobytes(), checksum)
    return checksum


def _may_lack_rows(image: Image.Image, data: bytes) -> bool:
    """Return whether a PNG's last row is zero, as Pillow leaves what it does not find, or its rows are interlaced."""
    if data[28]:
        return True
    # Few images end in a black pixel, and a look at one is cheaper than one at a row.
    corner = image.getpixel((image.width - 1, image.height - 1))
    if any(corner if isinstance(corner, tuple) else (corner,)):
        return False
    return not any(image.crop((0, image.height - 1, *image.size)).tobytes())


def _holds_all_packets(data: bytes) -> bool:
    """Read a JPEG 2000 once more, at a small size, so that packets cannot be missing without an error."""
    codestream, halvings = without_missing_packets(data)
    try:
        with Jpeg2KImageFile(io.BytesIO(codestream)) as image:
            image.reduce = halvings  # type: ignore[method-assign, assignment]
            image.load()
    except OSError:
        return False
    return True


def _is_whole(jpeg: bytes) -> bool:
    """Return whether a JPEG in a TIFF holds all of its pixels."""
    piece = read_piece(jpeg, 0, len(jpeg))
    if piece is None:
        return False
    sums = []
    for data in (jpeg, lengthen(jpeg, piece[-1], one_scan=True)):
        with Image.open(io.BytesIO(data), formats=("jpeg",)) as image:
            sums.append(_checksum(image))
    return sums[0] == sums[1]
