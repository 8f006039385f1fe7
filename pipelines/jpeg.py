"""Read the layout of a JPEG from its markers."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.layout import DamagedImageError, Layout, UnsupportedImageError, UntrustedColoursError

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Identifiers of three components by which every decoder knows YCbCr (the numbers) or RGB.
_KNOWN_COMPONENTS = (b"\1\2\3", b"RGB")


class _JpegSegment(NamedTuple):
    marker: int
    payload: bytes
    end: int


def read_jpeg(data: bytes) -> Layout:
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
    scan = segments[-1].end
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
    """Refuse a JPEG of one scan in which restart markers are missing: decoders fill what was between them with gray.

    Args:
      data: the file.
      scan: where its first scan begins.
      samples: components of the frame.
      mcus: minimum coded units of the scan.
      interval: of them between two markers; 0 for no markers.
    """
    if not interval or data[scan + 4] != samples:
        return
    markers = re.findall(rb"\xff([\xd0-\xd7])", data[scan : data.find(b"\xff\xd9", scan)])
    expected = -(-mcus // interval) - 1
    if b"".join(markers) != bytes(0xD0 + number % 8 for number in range(expected)):
        raise DamagedImageError(f"damaged JPEG: {len(markers)} restart markers of {expected}, or not in their order")


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
