"""What an image file says about its own pixels, read from its header without decoding it.

Decoders guess where a header is unusual, and guess differently from one another. The layout read here is what
`pipelines.images` decides by instead.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
}
# RIFF is a container of many things, so WebP is known by two marks.
RIFF, WEBP = b"RIFF", b"WEBP"


class ImageError(ValueError):
    """An image that cannot be read, or whose colours cannot be trusted; the class says what kind, the message why."""


class NotAnImageError(ImageError):
    """Data of no known image format."""


class DamagedImageError(ImageError):
    """An image that is truncated, or contradicts itself."""


class UnsupportedImageError(ImageError):
    """A whole image of a kind that is not read."""


class ImageTooLargeError(ImageError):
    """An image of more pixels than are decoded."""


class UntrustedColoursError(ImageError):
    """An image that can be decoded, but not into colours that are certain."""


class Layout(NamedTuple):
    """How a file stores its pixels.

    Attributes:
      format: `jpeg`, `png`, `tiff`, `gif`, `bmp` or `webp`.
      width: columns as stored, before any EXIF rotation.
      height: rows as stored.
      samples: samples a pixel, alpha and other extra samples included.
      bits: bits a sample.
      frames: images in the file, counted up to 2; None where the count is left to the decoder.
      gray: whether luminance is the only colour.
      adobe_transform: the colour transform of a JPEG's Adobe marker (0, 1 or 2); None without that marker.
      component_ids: the identifiers of a JPEG's components.
      scan: the byte at which a JPEG's first scan begins.
    """

    format: str
    width: int
    height: int
    samples: int = 3
    bits: int = 8
    frames: int | None = None
    gray: bool = False
    adobe_transform: int | None = None
    component_ids: bytes = b""
    scan: int = 0

    @property
    def source(self) -> str:
        """Name the layout as the output's `source` column does, e.g. `jpeg 4x8`."""
        return f"{self.format} {self.samples}x{self.bits}"


def read_layout(data: bytes) -> Layout:
    """Read the layout of an image file.

    Args:
      data: the whole file, or at least its headers.

    Raises:
      ImageError: the data is no image of a known format, its header is cut short, or the header alone
        shows that the colours cannot be trusted.
    """
    if not data:
        raise NotAnImageError("empty file")
    readers = {
        "jpeg": _read_jpeg,
        "png": _read_png,
        "tiff": _read_tiff,
        "gif": _read_gif,
        "bmp": _read_bmp,
        "webp": _read_webp,
    }
    format_name = next((name for mark, name in SIGNATURES.items() if data.startswith(mark)), None)
    if data.startswith(RIFF) and data[8:12] == WEBP:
        format_name = "webp"
    if format_name is None:
        raise NotAnImageError(f"no image: begins with {data[:8]!r}, which is none of JPEG, PNG, TIFF, GIF, BMP, WebP")
    try:
        return readers[format_name](data)
    except (struct.error, IndexError, OverflowError) as error:
        raise DamagedImageError(f"truncated {format_name.upper()} header") from error


_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Identifiers of three components by which every decoder knows YCbCr (the numbers) or RGB.
_KNOWN_COMPONENTS = (b"\1\2\3", b"RGB")


class _JpegSegment(NamedTuple):
    marker: int
    payload: bytes
    end: int


def _read_jpeg(data: bytes) -> Layout:
    """Read the frame header (SOF) and the Adobe marker (APP14); ITU-T T.81 annex B, T.872 section 6.5.3."""
    segments = list(_jpeg_segments(data))
    frames = [segment.payload for segment in segments if segment.marker in _FRAME_MARKERS]
    if len(frames) != 1:
        raise DamagedImageError(f"JPEG of {len(frames)} frame headers")
    [frame] = frames
    bits, height, width, samples = struct.unpack_from(">BHHB", frame)
    if len(frame) < 6 + 3 * samples:
        raise IndexError
    if bits != 8:
        raise UnsupportedImageError(f"{bits}-bit JPEG: only 8 bits a sample are read")
    if samples not in (1, 3, 4):
        raise UntrustedColoursError(f"JPEG of {samples} components: only 1, 3 and 4 have a known colour meaning")
    adobe = [part.payload[11] for part in segments if part.marker == 0xEE and part.payload.startswith(b"Adobe")]
    jfif = any(part.marker == 0xE0 and part.payload.startswith(b"JFIF") for part in segments)
    ids, sampling = frame[6 : 6 + 3 * samples : 3], frame[7 : 6 + 3 * samples : 3]
    if samples == 3 and not jfif and not adobe and ids not in _KNOWN_COMPONENTS and len(set(sampling)) == 1:
        # The sister of the unmarked RGBA JPEG: libjpeg takes it for YCbCr, and Java for RGB.
        raise UntrustedColoursError(
            "3-component JPEG without JFIF or Adobe marker, nothing subsampled: it may be RGB or YCbCr"
        )
    return Layout(
        "jpeg",
        width,
        height,
        samples,
        bits,
        gray=samples == 1,
        adobe_transform=adobe[-1] if adobe else None,
        component_ids=ids,
        scan=segments[-1].end,
    )


def _jpeg_segments(data: bytes) -> Iterator[_JpegSegment]:
    """Yield every segment before the first scan."""
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF:
            raise DamagedImageError(f"damaged JPEG: no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xDA:
            return
        if marker == 0xD9:
            raise DamagedImageError("JPEG without image data")
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield _JpegSegment(marker, data[at + 4 : at + 2 + length], at + 2 + length)
        at += 2 + length


def _read_png(data: bytes) -> Layout:
    """Read the IHDR chunk and check the pixels' sums; PNG specification (third edition), sections 11.2.1 and 5.3."""
    width, height, bits, colour_type = struct.unpack_from(">IIBB", data, 16)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour_type)
    if data[12:16] != b"IHDR" or samples is None:
        raise DamagedImageError("damaged PNG header")
    _check_png_pixels(data)
    return Layout("png", width, height, samples, bits, gray=colour_type in (0, 4))


def _check_png_pixels(data: bytes) -> None:
    """Verify the checksum of every IDAT chunk, the only ones whose checksums Pillow does not look at."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if data[at + 4 : at + 8] == b"IDAT":
            if end + 4 > len(data):
                raise DamagedImageError("truncated PNG data")
            if zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                raise DamagedImageError(f"damaged PNG: the checksum of the pixels at byte {at} is wrong")
        at = end + 4


def _read_gif(data: bytes) -> Layout:
    """Read the logical screen descriptor; GIF89a, section 18."""
    width, height = struct.unpack_from("<HH", data, 6)
    return Layout("gif", width, height, samples=1)


def _read_bmp(data: bytes) -> Layout:
    """Read the bitmap header: the OS/2 one of 12 bytes, or one of Windows', which begin alike."""
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height, _, depth = struct.unpack_from("<HHHH" if header_size == 12 else "<iiHH", data, 18)
    samples, bits = {1: (1, 1), 4: (1, 4), 8: (1, 8), 16: (3, 5), 24: (3, 8), 32: (4, 8)}.get(depth, (0, 0))
    if not samples:
        raise UnsupportedImageError(f"BMP of {depth} bits a pixel")
    # A negative height says that the first row is the topmost one.
    return Layout("bmp", width, abs(height), samples, bits, frames=1)


def _read_webp(data: bytes) -> Layout:
    """Read the first chunk; RFC 9649, sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        flags, canvas = struct.unpack_from("<B3x6s", data, 20)
        width, height = int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1
        alpha = flags & 0x10
    elif kind == b"VP8L":
        (fields,) = struct.unpack_from("<I", data, 21)
        width, height, alpha = (fields & 0x3FFF) + 1, (fields >> 14 & 0x3FFF) + 1, fields >> 28 & 1
    elif kind == b"VP8 ":
        columns, rows = struct.unpack_from("<HH", data, 26)
        width, height, alpha = columns & 0x3FFF, rows & 0x3FFF, 0
    else:
        raise DamagedImageError(f"damaged WebP: begins with a chunk {kind!r}")
    return Layout("webp", width, height, samples=4 if alpha else 3)


# TIFF 6.0 tags and the NumPy types of the field types that these tags may have.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT = 277, 332, 338, 339
_TIFF_TAGS = (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT)
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_ALPHA = (1, 2)
_CMYK_INKS = 1


def _read_tiff(data: bytes) -> Layout:
    """Read the first directory of a TIFF or BigTIFF and refuse what has no certain colours."""
    tags, next_directory = _tiff_directory(data)
    bits = tags.get(_BITS, (1,))
    samples = tags.get(_SAMPLES, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC, (-1,))[0]
    if max(bits) > 8 and samples > 1:
        raise UntrustedColoursError(
            f"{max(bits)}-bit multi-band TIFF ({samples} bands): which bands are red, green and blue, and how "
            "bright white is, cannot be told from the file"
        )
    colours = _COLOURS.get(photometric)
    if colours is None or not (samples == colours or (samples == colours + 1 and tags.get(_EXTRA, (0,))[0] in _ALPHA)):
        raise UntrustedColoursError(
            f"TIFF of {samples} bands with photometric interpretation {photometric}: the bands have no certain colours"
        )
    if set(tags.get(_SAMPLE_FORMAT, (1,))) != {1} or len(set(bits)) != 1 or bits[0] not in (1, 2, 4, 8, 16):
        raise UnsupportedImageError(
            f"TIFF samples of {bits[0]} bits: only unsigned integers of 1, 2, 4, 8 or 16 bits are read"
        )
    if photometric == _WHITE_IS_ZERO and bits[0] == 16:
        raise UntrustedColoursError("16-bit TIFF in which white is zero: decoders disagree on its polarity")
    if photometric == _YCBCR and tags.get(_COMPRESSION, (1,))[0] == 1:
        # Pillow takes its samples for RGB with a fourth one between the pixels, and reads on beyond them.
        raise UnsupportedImageError("uncompressed YCbCr TIFF")
    if photometric == _CMYK and tags.get(_INKS, (_CMYK_INKS,))[0] != _CMYK_INKS:
        raise UntrustedColoursError("TIFF of inks other than cyan, magenta, yellow and black")
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: no width or no height")
    return Layout(
        "tiff",
        tags[_WIDTH][0],
        tags[_HEIGHT][0],
        samples,
        bits[0],
        frames=2 if next_directory else 1,
        gray=photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO),
    )


def _tiff_directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Read the integer tags of the first directory, and the offset of the next one (0 at the last)."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    # BigTIFF widens offsets and counts to 8 bytes; otherwise the directories are alike.
    offset_type, count_type, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    (at,) = struct.unpack_from(order + offset_type, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count_type, data, at)
    at += struct.calcsize(order + count_type)
    entry_format = f"{order}HH{offset_type}"
    entry_size = struct.calcsize(entry_format) + inline
    tags = {}
    for entry in range(entries):
        tag, field_type, count = struct.unpack_from(entry_format, data, at + entry * entry_size)
        if field_type not in _TIFF_TYPES or tag not in _TIFF_TAGS:
            continue
        dtype = np.dtype(order + _TIFF_TYPES[field_type])
        where = at + (entry + 1) * entry_size - inline
        if count * dtype.itemsize > inline:
            (where,) = struct.unpack_from(order + offset_type, data, where)
        if not count or where + count * dtype.itemsize > len(data):
            raise DamagedImageError(f"damaged TIFF: tag {tag} has {count} values at byte {where}")
        tags[tag] = tuple(int(value) for value in np.frombuffer(data, dtype, count, where))
    (next_directory,) = struct.unpack_from(order + offset_type, data, at + entries * entry_size)
    return tags, next_directory
