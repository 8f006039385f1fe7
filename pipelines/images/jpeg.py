"""Read the layout of a JPEG from its markers."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from pipelines.images.layout import (
    DamagedImageError,
    ImageTooLargeError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Identifiers of three components that every decoder recognizes as YCbCr (the numbers) or RGB.
_KNOWN_COMPONENTS = (b"\1\2\3", b"RGB")
# Segments and fill bytes before the first scan: Pillow reads them one by one, and a file can consist of nothing else.
_MOST_SEGMENTS = 4096
# Pillow joins the parts of EXIF one by one, which takes time quadratic in their number.
_MOST_EXIF_BYTES = 1_000_000
# Every scan visits every pixel, and 10 bytes make a scan. Encoders write at most 18 scans; at the largest size that is
# decoded, this limit allows 31.
_MOST_SCANS = 500
_MOST_SCANNED_PIXELS = 2_000_000_000
# The header of a scan: its length is tied to its number of components, so little else looks like it.
_SCAN = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_FILL = re.compile(rb"\xff*(?=\xff)")


class _JpegSegment(NamedTuple):
    marker: int
    payload: bytes
    end: int


def read_jpeg(data: bytes) -> Layout:
    """Read the frame header (SOF) and the Adobe marker (APP14); ITU-T T.81 annex B, T.872 section 6.5.3."""
    segments = list(_jpeg_segments(data))
    if sum(len(part.payload) for part in segments if part.marker == 0xE1 and part.payload[:4] == b"Exif") > (
        _MOST_EXIF_BYTES
    ):
        raise DamagedImageError(f"damaged JPEG: more than {_MOST_EXIF_BYTES:,} bytes of EXIF")
    frames = [segment.payload for segment in segments if segment.marker in _FRAME_MARKERS]
    if len(frames) != 1:
        raise DamagedImageError(f"damaged JPEG: {len(frames)} frame headers")
    [frame] = frames
    bits, height, width, samples = struct.unpack_from(">BHHB", frame)
    if len(frame) < 6 + 3 * samples:
        raise IndexError
    if bits != 8:
        raise UnsupportedImageError(f"{bits}-bit JPEG: only 8 bits per sample are supported")
    if samples not in (1, 3, 4):
        raise UntrustedColoursError(f"JPEG with {samples} components: only 1, 3 or 4 have a known colour meaning")
    adobe = [part.payload[11] for part in segments if part.marker == 0xEE and part.payload.startswith(b"Adobe")]
    jfif = any(part.marker == 0xE0 and part.payload.startswith(b"JFIF") for part in segments)
    ids, sampling = frame[6 : 6 + 3 * samples : 3], frame[7 : 6 + 3 * samples : 3]
    if samples == 3 and not jfif and not adobe and ids not in _KNOWN_COMPONENTS and len(set(sampling)) == 1:
        # Like the unmarked RGBA JPEG: libjpeg reads it as YCbCr, and Java as RGB.
        raise UntrustedColoursError(
            "3-component JPEG without JFIF or Adobe marker and without subsampling: it may be RGB or YCbCr"
        )
    if any(not 1 <= factor <= 4 for factors in sampling for factor in divmod(factors, 16)):
        raise DamagedImageError("damaged JPEG: a component's sampling factors are not between 1 and 4")
    scan = segments[-1].end
    check_scans(data, width * height, scan)
    restarts = [part.payload for part in segments if part.marker == 0xDD]
    if restarts and any(part.marker in (0xC0, 0xC1) for part in segments):
        mcu = [
            8 * max(factors) if samples > 1 else 8 for factors in zip(*(divmod(s, 16) for s in sampling), strict=True)
        ]
        _check_restarts(
            data, scan, samples, -(-width // mcu[0]) * -(-height // mcu[1]), *struct.unpack(">H", restarts[-1])
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
        scan=scan,
    )


def _check_restarts(data: bytes, scan: int, samples: int, mcus: int, interval: int) -> None:
    """Refuse a single-scan JPEG with missing restart markers: decoders fill the gaps between them with gray.

    Args:
      data: the file.
      scan: where its first scan begins.
      samples: components of the frame.
      mcus: minimum coded units of the scan.
      interval: minimum coded units between two markers; 0 for no markers.
    """
    if not interval or data[scan + 4] != samples:
        return
    expected = -(-mcus // interval) - 1
    end = data.find(b"\xff\xd9", scan)
    found = _RESTART.finditer(data, scan, end if end >= 0 else len(data))
    markers = [data[mark.start() + 1] for mark in islice(found, expected + 1)]
    # The header can claim millions of markers, so their number is compared before they are listed.
    if len(markers) != expected or any(mark != 0xD0 + number % 8 for number, mark in enumerate(markers)):
        raise DamagedImageError(f"damaged JPEG: {len(markers)} restart markers instead of {expected}, or out of order")


def check_scans(data: bytes, pixels: int, start: int = 0, end: int | None = None) -> None:
    """Refuse a JPEG with so many scans that decoding would take minutes.

    Args:
      data: a file.
      pixels: of the image in it.
      start: byte at which its first scan begins, or any byte before it.
      end: byte at which it ends; None for the end of the file.

    Raises:
      ImageTooLargeError: it has more scans than are decoded.
    """
    most = min(_MOST_SCANS, _MOST_SCANNED_PIXELS // max(1, pixels))
    scans = sum(1 for _ in islice(_SCAN.finditer(data, start, len(data) if end is None else end), most + 1))
    if scans > max(1, most):
        raise ImageTooLargeError(
            f"JPEG with more than {most} scans of {pixels:,} pixels each: decoding would take too long"
        )


class Frame(NamedTuple):
    """The frame header of a JPEG.

    Attributes:
      width: columns.
      height: rows.
      samples: components.
      progressive: whether its pixels come in passes, or in a rarer way than one after the other.
    """

    width: int
    height: int
    samples: int
    progressive: bool


def find_frame(data: bytes) -> Frame | None:
    """Read the first frame header of a JPEG, whatever follows it; None if there is none."""
    for segment in _jpeg_segments(data):
        if segment.marker in _FRAME_MARKERS and len(segment.payload) >= 6:
            _, height, width, samples = struct.unpack_from(">BHHB", segment.payload)
            return Frame(width, height, samples, progressive=segment.marker not in (0xC0, 0xC1))
    return None


def frame_size(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Read width and height of a JPEG inside a file; None if no frame header is found."""
    for segment in _jpeg_segments(data, start, end):
        if segment.marker in _FRAME_MARKERS and len(segment.payload) >= 6:
            _, height, width = struct.unpack_from(">BHH", segment.payload)
            return width, height
    return None


def _jpeg_segments(data: bytes, start: int = 0, end: int | None = None) -> Iterator[_JpegSegment]:
    """Yield every segment before the first scan of a JPEG that lies between two bytes of a file."""
    at, steps = start + 2, 0
    while True:
        filled = _FILL.match(data, at)
        steps += 1 + (filled.end() - at if filled else 0)
        if steps > _MOST_SEGMENTS:
            raise DamagedImageError(f"damaged JPEG: more than {_MOST_SEGMENTS} segments before the pixel data")
        at = filled.end() if filled else at
        if data[at] != 0xFF or (end is not None and at >= end):
            raise DamagedImageError(f"damaged JPEG: no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xDA:
            return
        if marker == 0xD9:
            raise DamagedImageError("JPEG without image data")
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2:
            raise DamagedImageError(f"damaged JPEG: a segment of {length} bytes at byte {at}")
        yield _JpegSegment(marker, data[at + 4 : at + 2 + length], at + 2 + length)
        at += 2 + length
