"""Judge an image by the beginning of its file, before the rest of it is fetched or unpacked."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipelines.images.bmp import read_header
from pipelines.images.formats import recognize
from pipelines.images.jpeg.layout import find_frame
from pipelines.images.jpeg2000.layout import find_size
from pipelines.images.layout import DamagedImageError, ImageError, ImageTooLargeError
from pipelines.images.tiff.directories import KINDS, MOST_DIRECTORIES, kind_of
from pipelines.images.tiff.entries import MOST_ENTRIES
from pipelines.images.tiff.tags import BITS, COMPRESSION, HEIGHT, SAMPLES, UNCOMPRESSED, WEBP, WIDTH
from pipelines.images.webp import read_canvas

# Bytes per pixel that decoding, converting to RGB and resizing hold at a time, measured with the images of
# `tools.largest_images`. A progressive JPEG keeps its coefficients, WebP's decoder further copies, and a JPEG 2000 the
# samples of a tile.
_JPEG, _JPEG_OF_4, _PROGRESSIVE_JPEG, _WEBP, _OTHERS = 8, 11, 12, 17, 9
_JPEG2000, _JPEG2000_SAMPLE = 5, 5
_MOST = {"jpeg": _PROGRESSIVE_JPEG, "webp": _WEBP, "jpeg2000": _JPEG2000 + 4 * _JPEG2000_SAMPLE}
_SINGLE = frozenset((*KINDS, WIDTH, HEIGHT, COMPRESSION, SAMPLES))
_SAMPLES_OF_A_PICTURE, _BITS_OF_A_PICTURE = 4, 8
_SOON_DECODED = 1_000_000
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


class Cost(NamedTuple):
    """The memory that decoding an image takes, besides its file.

    Attributes:
      bytes: at a time.
      known: whether the image's size is known; if it is not, the cost is that of the largest image.
    """

    bytes: int
    known: bool


class _Size(NamedTuple):
    width: int
    height: int
    bytes_per_pixel: int = _OTHERS


def judge_head(head: bytes, max_pixels: int) -> Cost:
    """Return what decoding takes, or refuse what surely is no image or has too many pixels.

    Of a file larger than `SMALL_FILE`, `decode` judges the head before anything else. So the reason does not depend on
    whether the rest of the file has been fetched.

    Args:
      head: the first bytes of a file, or all of it.
      max_pixels: the most pixels that are decoded.

    Raises:
      ImageError: the file is not an image, or its pixels are none or too many.
    """
    format_name = recognize(head)
    try:
        size = _READERS[format_name](head)
    except (struct.error, IndexError, KeyError, OverflowError):
        size = None
    if size is None:
        return Cost(max_pixels * _MOST.get(format_name, _OTHERS), known=False)
    check_size(size.width, size.height, max_pixels)
    return Cost(size.width * size.height * size.bytes_per_pixel, known=True)


def holds_interpreter(head: bytes) -> bool:
    """Return whether decoding a file keeps all other threads waiting for long.

    Pillow's decoder of JPEG 2000 does not release Python's lock: a megapixel takes a third of a second and more.

    Args:
      head: the first bytes of the file, or all of it.
    """
    try:
        size = find_size(head) if recognize(head) == "jpeg2000" else None
    except (ImageError, struct.error, IndexError):
        return False
    return size is not None and size.width * size.height > _SOON_DECODED


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image that is empty or has too many pixels.

    Raises:
      ImageError: it is one of these.
    """
    if width < 1 or height < 1:
        raise DamagedImageError(f"{width} x {height} pixels: the image is empty")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} pixels: exceeds the limit of {max_pixels:,} (predict --max_pixels)"
        )


def _jpeg_size(head: bytes) -> _Size | None:
    frame = find_frame(head)
    if frame is None:
        return None
    kind = _PROGRESSIVE_JPEG if frame.progressive else _JPEG if len(frame.ids) <= 3 else _JPEG_OF_4
    return _Size(frame.width, frame.height, kind)


def _jpeg2000_size(head: bytes) -> _Size | None:
    size = find_size(head)
    if size is None:
        return None
    across, down = size.tile
    of_tile = _JPEG2000_SAMPLE * len(size.bits) * across * down
    return _Size(size.width, size.height, max(_OTHERS, _JPEG2000 + -(-of_tile // (size.width * size.height))))


def _png_size(head: bytes) -> _Size | None:
    width, height = struct.unpack_from(">II", head, 16)
    return _Size(width, height) if head[12:16] == b"IHDR" else None


def _tiff_size(head: bytes) -> _Size | None:
    """Read what decoding takes from the main image's directory, if it and all directories before it are in the head."""
    order, big = "<" if head.startswith(b"II") else ">", 43 in head[2:4]
    offset, place = ("Q", 8) if big else ("I", 4)
    for _ in range(MOST_DIRECTORIES):
        (at,) = struct.unpack_from(order + offset, head, place)
        if not at:
            break
        values, bits, place = _read_directory(head, at, order, big)
        if not kind_of(values):
            return _size_of_samples(values, bits)
    return None


def _read_directory(head: bytes, at: int, order: str, big: bool) -> tuple[dict[int, int], int, int]:
    """Return single integers of a directory by tag, the bits of its first sample, and the byte behind its entries."""
    offset, count, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    (entries,) = struct.unpack_from(order + count, head, at)
    entry = struct.Struct(f"{order}HH{offset}{inline}s")
    values: dict[int, int] = {}
    bits = 1
    begin = at + struct.calcsize(count)
    for number in range(min(entries, MOST_ENTRIES)):
        tag, kind, length, value = entry.unpack_from(head, begin + number * entry.size)
        if tag in _SINGLE and length == 1:
            (values[tag],) = struct.unpack_from(order + _TIFF_INTEGERS[kind], value)
        elif tag == BITS:
            bits = _bits(order, head, kind, length, value)
    return values, bits, begin + entries * entry.size


def _size_of_samples(values: Mapping[int, int], bits: int) -> _Size:
    size, samples = _Size(values[WIDTH], values[HEIGHT]), values.get(SAMPLES, 1)
    if bits > _BITS_OF_A_PICTURE or samples > _SAMPLES_OF_A_PICTURE:
        # All bands of a raster are held while three of them become a picture, and once more in a copy of the file.
        copies = 2 if values.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED else 1
        return size._replace(bytes_per_pixel=_OTHERS + copies * -(-bits // 8) * samples)
    # The samples of WebP files in a TIFF are unpacked before they are decoded.
    return size._replace(bytes_per_pixel=_WEBP) if values.get(COMPRESSION) == WEBP else size


def _bits(order: str, head: bytes, kind: int, length: int, value: bytes) -> int:
    """Return the bits of the first sample."""
    code = order + _TIFF_INTEGERS[kind]
    if length * struct.calcsize(code) > len(value):
        (place,) = struct.unpack(f"{order}{'Q' if len(value) == 8 else 'I'}", value)
        return int(struct.unpack_from(code, head, place)[0])
    return int(struct.unpack_from(code, value)[0])


def _gif_size(head: bytes) -> _Size | None:
    """Read the size of the screen, which Pillow extends to hold the first frame."""
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while head[at] == 0x21:
        at += 2
        while head[at]:
            at += 1 + head[at]
        at += 1
    if head[at] != 0x2C:
        return None
    left, top, columns, rows = struct.unpack_from("<HHHH", head, at + 1)
    return _Size(max(width, left + columns), max(height, top + rows))


def _bmp_size(head: bytes) -> _Size:
    header = read_header(head)
    return _Size(header.width, header.height)


def _webp_size(head: bytes) -> _Size:
    canvas = read_canvas(head)
    return _Size(canvas.width, canvas.height, _WEBP)


_READERS: Mapping[str, Callable[[bytes], _Size | None]] = {
    "jpeg": _jpeg_size,
    "jpeg2000": _jpeg2000_size,
    "png": _png_size,
    "tiff": _tiff_size,
    "gif": _gif_size,
    "bmp": _bmp_size,
    "webp": _webp_size,
}
