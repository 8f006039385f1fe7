"""Build small image files that would cost a decoder much more time or memory than their size and pixels justify.

Each repeats or shares something that a decoder reads again and again, or claims pixels that it does not hold.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tools import hostile_jpeg2000
from tools.image_seeds import Seed

SIDE = 8_000
"""Columns and rows of the largest image that is decoded."""


_RGB = (b"r", b"g", b"b")


class Hostile(NamedTuple):
    """A kind of expensive file.

    Attributes:
      name: in reports.
      format: as in `Seed`.
      build: builds it with so many repetitions.
      many: repetitions at which it costs much; its size stays below 11 MB.
      few: repetitions of a seed for fuzzing.
    """

    name: str
    format: str
    build: Callable[[int], bytes]
    many: int
    few: int


def hostile_seeds() -> list[Seed]:
    """Build a small file of each kind."""
    return [Seed(f"{kind.name} {kind.format}", kind.format, kind.build(kind.few)) for kind in HOSTILE]


def _encode(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    samples = (np.indices((16, 24)).sum(axis=0)[..., None] * [3, 5, 7, 2]).astype(np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(samples[..., :3]).convert(mode)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# EXIF


def _shared_exif(entries: int) -> bytes:
    """Write a directory whose entries share one value of 30 bytes per entry."""
    value = 8 + 2 + 12 * entries + 4
    table = b"".join(struct.pack("<HHII", tag, 7, 30 * entries, value) for tag in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + table + bytes(4) + bytes(30 * entries)


def _jpeg_with_exif(block: bytes) -> bytes:
    data, parts = _encode("jpeg"), [block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    return data[:2] + b"".join(_segment(0xE1, b"Exif\0\0" + part) for part in parts) + data[2:]


# ICC profiles


def _profile(tags: Sequence[tuple[bytes, bytes]]) -> bytes:
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, payload in tags:
        table += name + struct.pack(">II", at + len(body), len(payload))
        body += payload + bytes(-len(payload) % 4)
    header = struct.pack(">I4xI4s4s4s12x4s28x", at + len(body), 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    white = struct.pack(">3i", 63190, 65536, 54061)
    return (header + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _rgb_profile(*more: tuple[bytes, bytes]) -> bytes:
    xyz = b"XYZ \0\0\0\0" + struct.pack(">3i", 21000, 22000, 18000)
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, 512)
    colours = [(colour + kind, value) for kind, value in ((b"XYZ", xyz), (b"TRC", curve)) for colour in _RGB]
    return _profile([(b"wtpt", xyz), *colours, *more])


def _stages(number: int) -> bytes:
    """Write a pipeline whose stages are all the same matrix."""
    matrix = b"matf\0\0\0\0" + struct.pack(">HH12f", 3, 3, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    return _pipeline(number, matrix)


def _segmented_curves(number: int) -> bytes:
    """Write a pipeline of 30 stages that share a curve of this many segments."""
    parts = b"parf\0\0\0\0" + struct.pack(">HH4f", 0, 0, 1, 1, 0, 0)
    breaks = struct.pack(f">{number - 1}f", *np.linspace(0, 1, number - 1))
    curve = b"curf\0\0\0\0" + struct.pack(">HH", number, 0) + breaks + parts * number
    curves = b"cvst\0\0\0\0" + struct.pack(">HH", 3, 3) + struct.pack(">II", 36, len(curve)) * 3 + curve
    return _pipeline(30, curves)


def _pipeline(stages: int, stage: bytes) -> bytes:
    places = struct.pack(">II", 16 + 8 * stages, len(stage)) * stages
    return b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, stages) + places + stage


# PNG


def _png(chunks: bytes) -> bytes:
    data = _encode("png")
    return data[:33] + chunks + data[33:]


def _chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def _bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


# GIF


def _gif(blocks: bytes) -> bytes:
    data = _encode("gif", "P")
    palette = 13 + (3 << (data[10] & 7) + 1)
    return data[:palette] + blocks + data[palette:]


# BMP


def rle_bmp(width: int, height: int, runs: bytes, bits: int = 8) -> bytes:
    """Write a BMP in a run-length encoding: 8 or 4 bits a pixel."""
    compression, start = (1 if bits == 8 else 2), 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(runs), 0, 0, 256, 0)
    palette = b"".join(bytes((level, 255 - level, level // 2, 0)) for level in range(256))
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + palette + runs


# JPEG


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def _scan(components: Sequence[int], first: int = 0, last: int = 63) -> bytes:
    selectors = b"".join(bytes((component, 0)) for component in components)
    return _segment(0xDA, bytes((len(components),)) + selectors + bytes((first, last, 0)))


def bare_jpeg(process: int, width: int, height: int, scans: bytes, components: int = 3) -> bytes:
    """Write a JPEG whose only code is a zero bit, for a block like the one before and for an empty block.

    Args:
      process: marker of the frame, e.g. 0xC2 for progressive and 0xC9 for arithmetic coding.
      width: columns.
      height: rows.
      scans: scan headers, each with its data.
      components: 1 or 3.
    """
    tables = b"".join(bytes((kind,)) + bytes((1, *[0] * 15)) + b"\0" for kind in (0, 0x10))
    frame = struct.pack(">BHHB", 8, height, width, components)
    frame += b"".join(bytes((component, 0x11, 0)) for component in range(1, components + 1))
    jfif = _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    quantization = _segment(0xDB, b"\0" + bytes([1] * 64))
    head = jfif + quantization + _segment(0xC4, tables) + _segment(process, frame)
    return b"\xff\xd8" + head + scans + b"\xff\xd9"


def _many_scans(number: int) -> bytes:
    side = 4 * number
    means = _scan([1], 0, 0) + bytes((-(-side // 8)) ** 2 // 8 + 1)
    return bare_jpeg(0xC2, side, side, means + (_scan([1], 1, 63) + b"\0") * number, components=1)


def _restarts(side: int) -> bytes:
    """Write a JPEG with a restart marker behind each unit."""
    units = (-(-side // 8)) ** 2
    coded = b"".join(bytes((0, 0xFF, 0xD0 + unit % 8)) for unit in range(units - 1)) + b"\0"
    return bare_jpeg(0xC0, side, side, _segment(0xDD, b"\0\1") + _scan([1, 2, 3]) + coded)


# TIFF


def _tiff(
    size: tuple[int, int],
    pieces: Sequence[tuple[int, int]],
    data: bytes,
    compression: int = 1,
    *,
    rows: int = 1,
    more: Sequence[tuple[int, int, int, int]] = (),
) -> bytes:
    """Write an RGB TIFF: columns and rows, the offset and size of each strip, and what follows the header."""
    arrays = 8 + len(data)
    number = len(pieces)
    offsets, sizes = zip(*pieces, strict=True)
    at, sizes_at = (arrays, arrays + 4 * number) if number > 1 else (offsets[0], sizes[0])
    tags = sorted(
        [
            *((256, 4, 1, size[0]), (257, 4, 1, size[1]), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 2)),
            *((273, 4, number, at), (277, 3, 1, 3), (278, 4, 1, rows), (279, 4, number, sizes_at)),
            *more,
        ]
    )
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    lists = struct.pack(f"<{2 * number}I", *offsets, *sizes)
    return b"II*\0" + struct.pack("<I", arrays + len(lists)) + data + lists + directory


def _strips(number: int) -> bytes:
    return _tiff((1, number), [(8 + 3 * strip, 3) for strip in range(number)], b"abc" * number)


def _shared_strips(number: int, strip: bytes, compression: int) -> bytes:
    return _tiff((1, number), [(8, len(strip))] * number, strip, compression)


def _empty_blocks(number: int) -> bytes:
    """Write deflated blocks of nothing before three bytes."""
    return b"\x78\x9c" + b"\0\0\0\xff\xff" * number + zlib.compress(b"abc")[2:]


def _clear_codes(number: int) -> bytes:
    """Write 8 times as many LZW codes that clear the table before three bytes."""
    codes = np.array([*[256] * 8 * number, *b"abc", 257], np.uint16)
    return np.packbits(codes[:, None] >> np.arange(8, -1, -1, dtype=np.uint16) & 1).tobytes()


def tiff_of_its_own_directory(rows: int) -> bytes:
    """Write a TIFF each row of which is the directory and what else is in the file."""
    return _tiff((100, rows), [(8, 300)] * rows, b"")


def _gray_jpegs(number: int) -> bytes:
    """Write strips of JPEGs in the gray that also stands for missing data, so that each is looked at twice."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (128, 128, 128)).save(buffer, "jpeg", subsampling=0)
    jpeg = buffer.getvalue()
    pieces = [(8 + len(jpeg) * piece, len(jpeg)) for piece in range(number)]
    return _tiff((16, 16 * number), pieces, jpeg * number, 7, rows=16)


def _shared_tags(number: int) -> bytes:
    size = 192 + 250 * number
    return _tiff((8, 8), [(8, 192)], bytes(size), rows=8, more=[(40_000 + tag, 7, size, 8) for tag in range(number)])


# WebP


def _webp(chunks: bytes) -> bytes:
    data = bytearray(_encode("webp", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0") + chunks)
    data[4:8] = struct.pack("<I", len(data) - 8)
    return bytes(data)


def _jpeg_with_profile(tag: bytes) -> bytes:
    return _encode("jpeg", icc_profile=_rgb_profile((b"D2B0", tag)))


def _runs(number: int) -> bytes:
    side = 2500
    return rle_bmp(number // side, side, (b"\1\7" * (number // side) + b"\0\0") * side)


def _without_data(process: int, side: int) -> bytes:
    last = 0 if process in (0xC2, 0xCA) else 63
    return bare_jpeg(process, side, side, _scan([1, 2, 3], 0, last))


HOSTILE = (
    Hostile("shared exif", "jpeg", lambda n: _jpeg_with_exif(_shared_exif(n)), 20_000, 50),
    Hostile("exif prefixes", "jpeg", lambda n: _jpeg_with_exif(b"Exif\0\0" * n), 160_000, 20),
    Hostile("shared exif", "png", lambda n: _png(_chunk(b"eXIf", _shared_exif(n))), 20_000, 50),
    Hostile("shared exif", "webp", lambda n: _encode("webp", exif=_shared_exif(n)), 20_000, 50),
    Hostile("stages", "jpeg", lambda n: _jpeg_with_profile(_stages(n)), 60_000, 9),
    Hostile("curves", "jpeg", lambda n: _jpeg_with_profile(_segmented_curves(n)), 8_000, 9),
    Hostile("profiles", "png", lambda n: _png(_chunk(b"iCCP", b"a\0\0" + _bomb(1_000_000)) * n), 10_000, 3),
    Hostile("texts", "png", lambda n: _png(_chunk(b"zTXt", b"a\0\0" + _bomb(1_000_000)) * n), 10_000, 3),
    Hostile("a long text", "png", lambda n: _png(_chunk(b"tEXt", b"a\0" + bytes(n))), 10_000_000, 300),
    Hostile("empty chunks", "png", lambda n: _png(_chunk(b"IDAT", b"") * n), 199_000, 30),
    Hostile("a comment", "gif", lambda n: _gif(b"!\xfe" + b"\1a" * n + b"\0"), 5_000_000, 30),
    Hostile("comments", "gif", lambda n: _gif(b"!\xfe\1a\0" * n), 2_000_000, 30),
    Hostile("jumps", "bmp", lambda n: rle_bmp(SIDE, SIDE, b"\0\2\xff\xff" * n + b"\0\1"), 32, 2),
    Hostile("short lines", "bmp", lambda n: rle_bmp(SIDE, n, b"\1\1\0\0" * n + b"\0\1"), SIDE, 20),
    Hostile("runs", "bmp", _runs, 5_000_000, 25_000),
    Hostile("no data, arithmetic", "jpeg", partial(_without_data, 0xC9), SIDE, 16),
    Hostile("no data, arithmetic progressive", "jpeg", partial(_without_data, 0xCA), SIDE, 16),
    Hostile("no data, progressive", "jpeg", partial(_without_data, 0xC2), SIDE, 16),
    Hostile("no data", "jpeg", partial(_without_data, 0xC0), SIDE, 16),
    Hostile("restarts", "jpeg", _restarts, SIDE, 16),
    Hostile("scans", "jpeg", _many_scans, 490, 5),
    Hostile("comments", "jpeg", lambda n: _encode("jpeg")[:-2] + _segment(0xFE, b"") * n + b"\xff\xd9", 2_000_000, 30),
    Hostile("strips", "tiff", _strips, 249_000, 30),
    Hostile("packed strips", "tiff", lambda n: _shared_strips(n, zlib.compress(b"abc"), 8), 249_000, 30),
    Hostile("empty blocks", "tiff", lambda n: _shared_strips(n, _empty_blocks(4 * n), 8), 50_000, 3),
    Hostile("no runs", "tiff", lambda n: _shared_strips(n, b"\x80" * 20 * n + b"\2abc", 32773), 50_000, 3),
    Hostile("clear codes", "tiff", lambda n: _shared_strips(n, _clear_codes(2 * n), 5), 50_000, 3),
    Hostile("gray strips", "tiff", _gray_jpegs, 9_900, 3),
    Hostile("shared tags", "tiff", _shared_tags, 4_000, 30),
    Hostile("a plain picture", "jpeg2000", hostile_jpeg2000.plain, 5_000, 16),
    Hostile("boxes", "jpeg2000", hostile_jpeg2000.many_boxes, 9_900, 30),
    Hostile("tile parts", "jpeg2000", hostile_jpeg2000.many_tile_parts, 99_000, 30),
    Hostile("segments", "jpeg2000", hostile_jpeg2000.many_segments, 190_000, 30),
    Hostile("tiles", "jpeg2000", lambda n: hostile_jpeg2000.plain(n, tile_size=(8, 8)), 1_120, 32),
    Hostile("code blocks", "jpeg2000", lambda n: hostile_jpeg2000.plain(n, codeblock_size=(4, 4)), 1_400, 32),
    Hostile("packets", "jpeg2000", hostile_jpeg2000.many_packets, 20_000, 2),
    Hostile("packets of another tile", "jpeg2000", hostile_jpeg2000.packets_of_another_tile, 20_000, 2),
    Hostile("places", "jpeg2000", hostile_jpeg2000.many_places, 4_000, 16),
    Hostile("progressions", "jpeg2000", hostile_jpeg2000.many_progressions, 880, 2),
    Hostile("chunks", "webp", lambda n: _webp(b"JUNK\0\0\0\0" * n), 1_200_000, 30),
)
