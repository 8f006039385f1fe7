"""Build JPEG 2000 files that would cost a decoder much more time or memory than their size and pixels justify."""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image

_COD, _COC, _POC = b"\xff\x52", b"\xff\x53", b"\xff\x5f"
_BY_LAYER, _BY_PLACE = 0, 3
_LARGEST = 0xFF


def plain(side: int, **options: Any) -> bytes:
    """Write a codestream of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 60, 30)).save(buffer, "jpeg2000", **{"no_jp2": True, **options})
    return buffer.getvalue()


def many_boxes(number: int) -> bytes:
    """Write a file with this many empty boxes."""
    data = plain(16, no_jp2=False)
    at = data.index(b"jp2c") - 4
    return data[:at] + struct.pack(">I4s", 8, b"free") * number + data[at:]


def many_tile_parts(number: int) -> bytes:
    """Write a tile in this many parts."""
    data = bytearray(plain(16))
    at = data.index(b"\xff\x90")
    # The number of the part and of all parts, which is left open.
    data[at + 10 : at + 12] = bytes((number % 256, 0))
    parts = (struct.pack(">HHHIBBH", 0xFF90, 10, 0, 14, part % 256, 0, 0xFF93) for part in range(number))
    return bytes(data[:at]) + b"".join(parts) + bytes(data[at:])


def many_segments(number: int) -> bytes:
    """Write a tile with this many comments."""
    data = plain(16)
    at = data.index(b"\xff\x90")
    segments = b"\xff\x64\0\4\0\1" * number
    (length,) = struct.unpack_from(">I", data, at + 6)
    return b"".join(
        (data[: at + 6], struct.pack(">I", length + len(segments)), data[at + 10 : at + 12], segments, data[at + 12 :])
    )


def many_packets(layers: int) -> bytes:
    """Write 4,096 precincts in this many layers next to two of one: hardly any of their packets is there."""
    header = _coding(layers, (0x11,)) + b"".join(_component(number, (_LARGEST,)) for number in (1, 2))
    return _with_header(128, header, bytes(3 * 4_096 + 3 * layers))


def packets_of_another_tile(layers: int) -> bytes:
    """Write many packets in one tile, next to another one of few: hardly any of them is there."""
    few = _part(1, _coding(1, (_LARGEST,)), b"\0\0\0")
    return _with_header(128, _coding(layers, (0x11,)), bytes(400_000), few, columns=2)


def many_places(side: int) -> bytes:
    """Write components whose packets may begin at each pixel, in 33 resolutions."""
    wide, high = _component(0, (0xF0,), block=(0, 8)), _component(1, (0x0F,), block=(8, 0))
    header = _coding(1, (_LARGEST,) * 33, order=_BY_PLACE) + wide + high
    return _with_header(side, header, bytes(40_000))


def many_progressions(layers: int) -> bytes:
    """Write precincts of 2 x 2 pixels in this many layers, which are gone through 32 times."""
    progression = struct.pack(">BBHBBB", 0, 0, layers, 33, 255, _BY_LAYER) * 31
    header = _coding(layers, (0x11,)) + _segment(_POC, progression)
    return _with_header(128, header, bytes(3 * 4_096 * layers))


def _with_header(side: int, coding: bytes, packets: bytes, more: bytes = b"", columns: int = 1) -> bytes:
    """Write a codestream of which the first tile, or the only one, is coded in another way."""
    data = plain(16, num_resolutions=1)
    sizes = struct.pack(">2I8x2I", columns * side, side, side, side)
    # One step of quantization for each band of any resolution.
    steps = _segment(b"\xff\x5c", bytes((0x40, *[64] * 97)))
    header = data[:8] + sizes + data[32 : data.index(_COD)] + coding + steps
    return header + _part(0, b"", packets) + more + b"\xff\xd9"


def _part(tile: int, coding: bytes, packets: bytes) -> bytes:
    rest = coding + b"\xff\x93" + packets
    return struct.pack(">HHHIBB", 0xFF90, 10, tile, 12 + len(rest), 0, 1) + rest


def _coding(layers: int, precincts: tuple[int, ...], order: int = _BY_LAYER) -> bytes:
    parameters = bytes((len(precincts) - 1, 4, 4, 0, 1, *precincts))
    return _segment(_COD, struct.pack(">BBHB", 1, order, layers, 0) + parameters)


def _component(number: int, precincts: tuple[int, ...], block: tuple[int, int] = (4, 4)) -> bytes:
    return _segment(_COC, bytes((number, 1, len(precincts) - 1, *block, 0, 1, *precincts)))


def _segment(marker: bytes, payload: bytes) -> bytes:
    return marker + struct.pack(">H", 2 + len(payload)) + payload
