"""Read the layout of a JPEG from its markers."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.jpeg.frames import FRAME_MARKERS, Frame, read_frame
from pipelines.images.jpeg.scans import MOST_SEGMENTS, check_scans, in_one_scan, interval_ends
from pipelines.images.layout import (
    DAMAGED_PROFILE,
    DamagedImageError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)
from pipelines.images.metadata import find_integer, read_orientation

# Identifiers of three components that every decoder recognizes as YCbCr (the numbers) or RGB.
_KNOWN_COMPONENTS = (b"\1\2\3", b"RGB")
_FILL = re.compile(rb"\xff*(?=\xff)")
# Stray bytes between segments that are passed over, as decoders do. More of them are a wrong length, and what follows
# could be the segments of a thumbnail.
_MOST_STRAY = 16
# Markers without a segment: TEM and those of restart intervals.
_BARE = frozenset((0x01, *range(0xD0, 0xD8)))
_START = 0xD8
_APP0, _APP1, _APP2, _APP14, _COMMENT, _RESTART_INTERVAL = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDD
# Segments on which no pixel depends once they are read here, so that Pillow need not see them.
_ABOUT = (frozenset(range(0xE0, 0xF0)) | {_COMMENT}) - {_APP0, _APP14}
# Decoders pass over shorter ones.
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_EXIF, _PROFILE, _PICTURES = b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0"
_NUMBER_OF_PICTURES = 0xB001
# Names the second picture as a map of brightness, not as another frame.
_GAIN_MAP = b' hdrgm:Version="'


class _Segment(NamedTuple):
    marker: int
    payload: bytes
    start: int
    end: int


def read_jpeg(data: bytes) -> Layout:
    """Read the frame header (SOF) and the Adobe marker (APP14); ITU-T T.81 annex B, T.872 section 6.5.3."""
    segments = list(_read_segments(data))
    frames = [segment for segment in segments if segment.marker in FRAME_MARKERS]
    if len(frames) != 1:
        raise DamagedImageError(f"damaged JPEG: {quantity(len(frames), 'frame header')}")
    frame = read_frame(frames[0].marker, frames[0].payload)
    samples = len(frame.ids)
    if frame.bits != 8:
        raise UnsupportedImageError(f"{frame.bits}-bit JPEG: only 8 bits per sample are supported")
    if samples not in (1, 3, 4):
        raise UntrustedColoursError(
            f"JPEG with {quantity(samples, 'component')}: only 1, 3 or 4 have a known colour meaning"
        )
    adobe = [part.payload[11] for part in segments if part.marker == _APP14 and _matters(part)]
    jfif = any(part.marker == _APP0 and _matters(part) for part in segments)
    about = [part for part in segments if part.marker in _ABOUT]
    unmarked = samples == 3 and not jfif and not adobe and frame.ids not in _KNOWN_COMPONENTS
    if unmarked and len(set(frame.sampling)) == 1 and not any(part.payload.startswith(_EXIF) for part in about):
        # Like the unmarked RGBA JPEG: libjpeg reads it as YCbCr, which EXIF demands, and Java as RGB.
        raise UntrustedColoursError(
            "3-component JPEG without JFIF, EXIF or Adobe marker and without subsampling: it may be RGB or YCbCr"
        )
    scan, interval = _next_marker(data, segments[-1].end), _restart_interval(segments)
    kept = [(part.start, part.end) for part in segments if _matters(part)]
    if sum(end - start for start, end in kept) == scan - 2:
        kept = [(2, scan)]
    return Layout(
        "jpeg",
        frame.width,
        frame.height,
        samples,
        frame.bits,
        frames=_count_pictures(about),
        gray=samples == 1,
        adobe_transform=adobe[-1] if adobe else None,
        component_ids=frame.ids,
        scan=2 + sum(end - start for start, end in kept),
        # The end of an arithmetic code shows only by decoding the file twice.
        in_one_scan=not frame.arithmetic and in_one_scan(data, frame, scan),
        arithmetic=frame.arithmetic,
        orientation=_read_orientation(about),
        profile=_join_profile(about),
        ends=partial(interval_ends, frame, interval),
        to_pixels=partial(_to_pixels, frame, interval, scan, kept),
    )


def _to_pixels(frame: Frame, interval: int, scan: int, kept: Sequence[tuple[int, int]], data: bytes) -> bytes:
    """Check the scans, and leave out the segments that say something about the image."""
    check_scans(data, frame, interval, scan)
    if kept == [(2, scan)]:
        return data
    view = memoryview(data)
    return b"".join((view[:2], *(view[start:end] for start, end in kept), view[scan:]))


def read_piece(data: bytes, start: int, end: int) -> tuple[Frame, int, int] | None:
    """Read a JPEG inside a file; its frame, its restart interval and where its first scan begins, if it has a frame."""
    segments = list(_read_segments(data, start, end))
    frames = [segment for segment in segments if segment.marker in FRAME_MARKERS and len(segment.payload) >= 6]
    if not frames:
        return None
    frame = read_frame(frames[0].marker, frames[0].payload)
    if frame.arithmetic:
        raise UnsupportedImageError("arithmetic-coded JPEG in another file is not supported")
    return frame, _restart_interval(segments), _next_marker(data, segments[-1].end)


def find_frame(data: bytes) -> Frame | None:
    """Read the first frame header of a JPEG, whatever follows it; None if there is none."""
    for segment in _read_segments(data):
        if segment.marker in FRAME_MARKERS and len(segment.payload) >= 6:
            return read_frame(segment.marker, segment.payload)
    return None


def _restart_interval(segments: Sequence[_Segment]) -> int:
    intervals = [part.payload for part in segments if part.marker == _RESTART_INTERVAL]
    return int.from_bytes(intervals[-1][:2], "big") if intervals else 0


def _matters(segment: _Segment) -> bool:
    """Return whether pixels depend on a segment."""
    if segment.marker == _APP0:
        return segment.payload.startswith(b"JFIF\0") and len(segment.payload) >= _JFIF_BYTES
    if segment.marker == _APP14:
        return segment.payload.startswith(b"Adobe") and len(segment.payload) >= _ADOBE_BYTES
    return segment.marker not in _ABOUT


def _next_marker(data: bytes, at: int) -> int:
    """Return the byte at which the next marker begins, behind fill bytes and a few stray ones."""
    begin, stray = at, 0
    while True:
        filled = _FILL.match(data, at)
        at = filled.end() if filled else at
        if data[at] == 0xFF and data[at + 1]:
            return at
        # A marker of zero is none.
        passed = 2 if data[at] == 0xFF else 1
        at, stray = at + passed, stray + passed
        if stray > _MOST_STRAY:
            raise DamagedImageError(f"damaged JPEG: no marker at byte {begin}")


def _read_orientation(segments: Sequence[_Segment]) -> int:
    if not segments:
        return 1
    parts = [part.payload for part in segments if part.marker == _APP1 and part.payload.startswith(_EXIF)]
    exif = b"".join(part[len(_EXIF) :] for part in parts)
    return read_orientation(exif)


def _join_profile(segments: Sequence[_Segment]) -> bytes | None:
    """Join the numbered parts of an ICC profile, wherever they are; its specification, annex B.4."""
    parts = sorted(part.payload for part in segments if part.marker == _APP2 and part.payload.startswith(_PROFILE))
    if not parts:
        return None
    numbers = [tuple(part[12:14]) for part in parts]
    if numbers != [(number, len(parts)) for number in range(1, len(parts) + 1)]:
        return DAMAGED_PROFILE
    return b"".join(part[14:] for part in parts)


def _count_pictures(segments: Sequence[_Segment]) -> int:
    """Count the pictures of a file in CIPA's Multi-Picture Format, up to 2."""
    index = _last(segments, _APP2, _PICTURES)
    pictures = find_integer(index, _NUMBER_OF_PICTURES) if index else None
    if not pictures or any(part.marker == _APP1 and _GAIN_MAP in part.payload for part in segments):
        return 1
    return min(pictures, 2)


def _last(segments: Sequence[_Segment], marker: int, start: bytes) -> bytes:
    """Return what follows such a start in the last segment that has it."""
    found = [part.payload for part in segments if part.marker == marker and part.payload.startswith(start)]
    return found[-1][len(start) :] if found else b""


def _read_segments(data: bytes, start: int = 0, end: int | None = None) -> Iterator[_Segment]:
    """Yield every segment before the first scan of a JPEG that lies between two bytes of a file."""
    at, steps = start + 2, 0
    while True:
        begin, at = at, _next_marker(data, at)
        steps += 1 + at - begin
        if steps > MOST_SEGMENTS:
            raise DamagedImageError(f"damaged JPEG: more than {MOST_SEGMENTS} segments before the pixel data")
        if end is not None and at >= end:
            raise DamagedImageError(f"damaged JPEG: no marker at byte {begin}")
        marker = data[at + 1]
        if marker == 0xDA:
            return
        if marker in _BARE:
            at += 2
            continue
        if marker == 0xD9:
            raise DamagedImageError("JPEG without image data")
        if marker == _START:
            raise DamagedImageError(f"damaged JPEG: another one begins at byte {at} before its pixel data")
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2:
            raise DamagedImageError(f"damaged JPEG: a segment of {quantity(length, 'byte')} at byte {at}")
        yield _Segment(marker, data[at + 4 : at + 2 + length], at, at + 2 + length)
        at += 2 + length
