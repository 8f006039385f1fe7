"""Check that the scans of a JPEG hold its whole picture: libjpeg fills what is missing with gray, without an error."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from pipelines.errors import quantity
from pipelines.images.jpeg.frames import Frame
from pipelines.images.layout import DamagedImageError, ImageTooLargeError

MOST_SEGMENTS = 4096
"""Segments and fill bytes in a row: they are read one by one, and a file can consist of nothing else."""

# Every scan visits every pixel, and 10 bytes make a scan. Encoders write at most 18, which are decoded at any size.
_MOST_SCANS, _USUAL_SCANS = 500, 18
_MOST_SCANNED_PIXELS = 1_000_000_000
_RESTARTS = range(0xD0, 0xD8)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# In a scan 0xFF stands before a stuffed 0, a restart marker or another 0xFF; anything else ends the scan.
_MARKER = re.compile(rb"\xff[^\0\xff]")
_NO_RESTART = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")
# Of longer restart intervals, cut anywhere, most end in gray.
_FEW_UNITS = 8
_MORE_DATA = b"\x55\xaa" * 64
# There can be a million intervals.
_MORE_IN_INTERVAL = b"\x55\xaa" * 8


class _Scan(NamedTuple):
    """A scan.

    Attributes:
      header: without its length.
      start: byte at which its coded data begins.
      end: byte at which they end.
      interval: minimum coded units between two restart markers; 0 for no markers.
      restarts: whether there are any.
    """

    header: bytes
    start: int
    end: int
    interval: int
    restarts: bool


def in_one_scan(data: bytes, frame: Frame, scan: int) -> bool:
    """Return whether the scan that begins at a byte holds the whole picture."""
    return not frame.progressive and data[scan + 4] == len(frame.ids)


def check_scans(data: bytes, frame: Frame, interval: int, start: int, end: int | None = None) -> None:
    """Refuse a JPEG whose scans cannot hold the whole picture, or are so many that decoding would take minutes.

    Args:
      data: a file.
      frame: of the JPEG in it.
      interval: the restart interval before the first scan, in minimum coded units; 0 for none.
      start: byte at which the first scan begins.
      end: byte at which the JPEG ends; None for the end of the file.

    Raises:
      ImageTooLargeError: it has more scans than are decoded.
      DamagedImageError: a part of the picture is missing.
    """
    pixels = frame.width * frame.height
    most = min(_MOST_SCANS, max(_USUAL_SCANS, _MOST_SCANNED_PIXELS // max(1, pixels)))
    scans = list(islice(_read_scans(data, start, len(data) if end is None else end, interval), most + 1))
    if len(scans) > most:
        raise ImageTooLargeError(
            f"JPEG with more than {quantity(most, 'scan')} of {quantity(pixels, 'pixel')} each: decoding would take "
            "too long"
        )
    if in_one_scan(data, frame, start):
        _check_scan(data, frame, scans[0])
    else:
        _check_passes(data, frame, scans)


def _check_passes(data: bytes, frame: Frame, scans: Sequence[_Scan]) -> None:
    """Refuse scans that leave out a component, frequencies or bits; T.81, annex G.1.1.1.

    libjpeg shows a picture of less detail instead.
    """
    # The lowest bit known of each frequency of each component; none is known at first.
    known: dict[int, list[int | None]] = {component: [None] * 64 for component in frame.ids}
    for scan in scans:
        _check_scan(data, frame, scan)
        first, last, bits = scan.header[-3:] if frame.progressive else (0, 63, 0)
        before, after = divmod(bits, 16)
        for component in scan.header[1:-3:2]:
            if set(known[component][first : last + 1]) != {before if before else None}:
                raise DamagedImageError(
                    f"damaged JPEG: the scan at byte {scan.start} does not continue those before it"
                )
            known[component][first : last + 1] = [after] * (last + 1 - first)
    missing = sum(set(lowest) != {0} for lowest in known.values())
    if missing:
        raise DamagedImageError(
            f"truncated JPEG: it lacks scans of {missing} of its {quantity(len(frame.ids), 'component')}"
        )


def lengthen(data: bytes, start: int, *, one_scan: bool, arithmetic: bool = False) -> bytes:
    """Add data to each scan and restart interval of a JPEG, which change a picture only if one of them ends too early.

    Args:
      data: the file.
      start: byte at which its first scan begins.
      one_scan: whether that scan holds the whole picture.
      arithmetic: whether its code is arithmetic.
    """
    # An arithmetic code ends with the shortest number in an interval of 16 bits. So a small fraction changes nothing at
    # its true end (but in one of 13,000), and changes what follows if decoding has gone on for 14 bits or more.
    between = b"\0\5" if arithmetic else b""
    more, more_in_interval = between + _MORE_DATA, between + _MORE_IN_INTERVAL
    parts, behind = [], 0
    for scan in islice(_read_scans(data, start, len(data)), 1 if one_scan else None):
        coded = data[scan.start : scan.end].rstrip(b"\xff")
        # Data behind a fill byte would be read as a marker.
        while b"\xff\xff" in coded:
            coded = coded.replace(b"\xff\xff", b"\xff")
        if scan.restarts:
            # Several times as fast as a regular expression.
            for marker in _RESTARTS:
                coded = coded.replace(bytes((0xFF, marker)), more_in_interval + bytes((0xFF, marker)))
        parts += [data[behind : scan.start], coded, more]
        behind = scan.end
    return b"".join((*parts, data[behind:]))


def interval_ends(frame: Frame, interval: int) -> Iterator[tuple[int, int]]:
    """Yield pixels of a picture in one scan of which one is gray if its scan or a restart interval ends early.

    A decoder makes up the rest of a unit, and only the following ones are gray; so nothing is yielded if intervals have
    so few units that pictures could lack much and not be gray.

    Args:
      frame: of the JPEG.
      interval: minimum coded units between two restart markers; 0 for no markers.

    Yields:
      Column and row of a pixel in the middle of the last unit of each interval, where the colour of the next one is not
      blended in; of the last interval, the last pixel.
    """
    if interval:
        across, down = (8 * frame.across, 8 * frame.down) if len(frame.ids) > 1 else (8, 8)
        columns, (units, _) = -(-frame.width // across), _count_units(frame, range(len(frame.ids)))
        if interval < min(units, _FEW_UNITS):
            return
        for unit in range(interval - 1, units - 1, interval):
            row, column = divmod(unit, columns)
            at_column, at_row = column * across + across // 2, row * down + down // 2
            yield min(frame.width - 1, at_column), min(frame.height - 1, at_row)
    yield frame.width - 1, frame.height - 1


def _count_units(frame: Frame, components: Sequence[int]) -> tuple[int, int]:
    """Count the minimum coded units of a scan of some components, and the blocks of a unit."""
    if len(components) == 1:
        return frame.blocks(components[0]), 1
    return frame.units(), sum(across * down for across, down in map(frame.sampling.__getitem__, components))


def _read_scans(data: bytes, at: int, end: int, interval: int = 0) -> Iterator[_Scan]:
    """Yield the scans of a JPEG from the first one, which begins at a byte, to the end of the image.

    Raises:
      DamagedImageError: the end is missing, or there is far more than scans.
    """
    for _ in range(MOST_SEGMENTS):
        (length,) = struct.unpack_from(">H", data, at + 2)
        marker, payload, start = data[at + 1], data[at + 4 : at + 2 + length], at + 2 + length
        if marker == 0xDD and length == 4:
            (interval,) = struct.unpack(">H", payload)
        found = _MARKER.search(data, start, end)
        restarts = found is not None and found[0][1] in _RESTARTS
        if restarts:
            found = _NO_RESTART.search(data, start, end)
        if not found:
            # Without its end, the zeros that a broken copy left behind would be read as pixels.
            raise DamagedImageError("truncated JPEG: its end marker is missing")
        following = found.start()
        if marker == 0xDA:
            if length < 6:
                raise DamagedImageError(f"damaged JPEG: a scan header of {quantity(length, 'byte')} at byte {at}")
            yield _Scan(payload, start, following, interval, restarts)
        if data[following + 1] == 0xD9:
            return
        at = following
    raise DamagedImageError(f"damaged JPEG: more than {MOST_SEGMENTS} segments after the first scan")


def _check_scan(data: bytes, frame: Frame, scan: _Scan) -> None:
    """Refuse a scan with too few bytes, or with missing restart markers: decoders fill the gaps between them."""
    components = [frame.ids.find(component) for component in scan.header[1:-3:2]]
    if -1 in components or len(components) != scan.header[0]:
        raise DamagedImageError("damaged JPEG: a scan names components that the image does not have")
    blocks = [frame.blocks(component) for component in components]
    # A block takes at least one bit for its mean, and in a baseline JPEG another one for all that it does not have. The
    # scans of other frequencies skip any number of blocks at once.
    if frame.arithmetic:
        # Such a code takes any fraction of a bit, but that of a picture hardly takes so little.
        bits, least, needed = 0, 0, sum(blocks) // 64
    else:
        bits, least = (scan.header[-3] == 0) if frame.progressive else 2, 1
        needed = max(1, -(-sum(blocks) * bits // 8))
    if scan.end - scan.start < needed:
        raise DamagedImageError(
            f"truncated JPEG: a scan of {quantity(scan.end - scan.start, 'byte')} at byte {scan.start}"
        )
    scan = _without_last_marker(data, scan)
    if not scan.interval and not scan.restarts:
        return
    units, per_unit = _count_units(frame, components)
    _check_restarts(data, scan, units, per_unit * bits, least)


def _without_last_marker(data: bytes, scan: _Scan) -> _Scan:
    """Leave out a restart marker after the last interval, as some encoders write it."""
    end = scan.end - 2
    if not scan.restarts or not _RESTART.fullmatch(data, end, scan.end):
        return scan
    return scan._replace(end=end, restarts=_RESTART.search(data, scan.start, end) is not None)


def _check_restarts(data: bytes, scan: _Scan, units: int, bits: int, least: int) -> None:
    """Refuse intervals between restart markers that have too few bytes for so many units of at least so many bits.

    `least` is the smallest number of bytes.
    """
    expected = -(-units // scan.interval) - 1 if scan.interval else 0
    found = _RESTART.finditer(data, scan.start, scan.end)
    # The header can claim millions of markers, so their number is compared before they are listed.
    places = [mark.start() for mark in islice(found, expected + 1)]
    if len(places) != expected or any(data[at + 1] != 0xD0 + number % 8 for number, at in enumerate(places)):
        raise DamagedImageError(
            f"damaged JPEG: {quantity(len(places), 'restart marker')} instead of {expected}, or out of order"
        )
    starts = [scan.start, *(at + 2 for at in places)]
    needed = max(least, -(-min(units, scan.interval) * bits // 8))
    if any(end - start < needed for start, end in zip(starts, places, strict=False)):
        raise DamagedImageError(
            f"damaged JPEG: less than {quantity(needed, 'byte')} between two of its restart markers"
        )
    if scan.end - starts[-1] < max(least, -(-(units - expected * scan.interval) * bits // 8)):
        raise DamagedImageError("damaged JPEG: too little data after the last of its restart markers")
