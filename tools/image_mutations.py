"""Damage image files, blindly and following their structure.

Blind damage seldom passes a checksum or length check, so most of it is rejected early. The mutations that know a format
correct those, and so reach the code behind the checks.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tools.image_seeds import Seed

# Sizes and counts at which code tends to break: limits of integer types, and sizes just too large to decode.
_INTERESTING = (
    *(0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 1000, 4096, 8000, 8001, 32767, 32768, 60_000, 65_535, 65_536),
    *(1_000_000, 16_777_216, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1),
)
_MOST_BLOCK = 400


class Case(NamedTuple):
    """A damaged file: its seed, the names of its mutations, and its bytes."""

    seed: Seed
    mutations: tuple[str, ...]
    data: bytes


Mutation = Callable[[bytes, Random, Sequence[Seed]], bytes]


def make_case(seeds: Sequence[Seed], campaign: int, number: int) -> Case:
    """Generate the file with a number; the same seeds, campaign and number always give the same file."""
    rng = Random(f"{campaign} {number}")
    # Formats take turns, so that one with many seeds does not crowd out the others. GIF, BMP, WebP and JPEG 2000 share
    # a turn: the intended archives consist of JPEG, PNG and TIFF.
    turns = (("jpeg",), ("png",), ("tiff",), ("jpeg",), ("png",), ("tiff",), ("gif", "bmp", "webp", "jpeg2000"))
    kinds = turns[number % len(turns)]
    seed = rng.choice([seed for seed in seeds if seed.format in kinds] or seeds)
    data, done = seed.data, []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        mutation = rng.choice(BLIND if rng.random() < 0.4 else STRUCTURED.get(seed.format, BLIND))
        data = mutation(data, rng, seeds)
        done.append(mutation.__name__)
    return Case(seed, tuple(done), data)


def flip_bits(data: bytes, rng: Random, _: Sequence[Seed]) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(data)
    for _bit in range(rng.randint(1, 8)):
        if changed:
            changed[_place(changed, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_integer(data: bytes, rng: Random, _: Sequence[Seed]) -> bytes:
    """Overwrite an integer with one at which code tends to break."""
    order, (code, size) = rng.choice("<>"), rng.choice((("B", 1), ("H", 2), ("I", 4), ("Q", 8)))
    at = _place(data, rng)
    return data[:at] + struct.pack(order + code, _number(rng) % (1 << 8 * size)) + data[at + size :]


def cut_short(data: bytes, rng: Random, _: Sequence[Seed]) -> bytes:
    """Drop the end."""
    return data[: _place(data, rng)]


def delete_block(data: bytes, rng: Random, _: Sequence[Seed]) -> bytes:
    """Drop a block."""
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def repeat_block(data: bytes, rng: Random, _: Sequence[Seed]) -> bytes:
    """Repeat a block."""
    start, end = _block(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 10, 300)) + data[end:]


def move_block(data: bytes, rng: Random, _: Sequence[Seed]) -> bytes:
    """Move a block elsewhere."""
    start, end = _block(data, rng)
    rest = data[:start] + data[end:]
    at = _place(rest, rng)
    return rest[:at] + data[start:end] + rest[at:]


def splice(data: bytes, rng: Random, seeds: Sequence[Seed]) -> bytes:
    """Replace the end with that of another file."""
    other = rng.choice(seeds).data
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def change_png_chunk(data: bytes, rng: Random, seeds: Sequence[Seed]) -> bytes:
    """Damage a chunk's data or name, with a correct checksum."""
    chunks = _png_chunks(data)
    if not chunks:
        return flip_bits(data, rng, seeds)
    at = rng.randrange(len(chunks))
    name, payload = chunks[at]
    kind = rng.randrange(8)
    if kind == 0:
        name = rng.choice(
            [name for name, _ in chunks] + [b"acTL", b"fcTL", b"fdAT", b"iCCP", b"tRNS", b"eXIf", b"zTXt"]
        )
    elif name == b"IHDR" and kind < 5:
        payload = _change_png_header(payload, rng)
    elif name == b"IDAT" and kind < 5:
        # Damaged pixels that decompress: the code behind zlib is otherwise never reached.
        payload = _repack(payload, rng)
    else:
        payload = rng.choice((flip_bits, set_integer, cut_short, repeat_block))(payload, rng, seeds)
    chunks[at] = (name, payload)
    return _join_png(chunks)


def reorder_png_chunks(data: bytes, rng: Random, seeds: Sequence[Seed]) -> bytes:
    """Drop, repeat, swap, split or multiply chunks, or take some from another file."""
    chunks = _png_chunks(data)
    if len(chunks) < 2:
        return flip_bits(data, rng, seeds)
    one, two = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    kind = rng.randrange(6)
    if kind == 0:
        del chunks[one]
    elif kind == 1:
        chunks.insert(two, chunks[one])
    elif kind == 2:
        chunks[one], chunks[two] = chunks[two], chunks[one]
    elif kind == 3:
        name, payload = chunks[one]
        middle = rng.randint(0, len(payload))
        chunks[one : one + 1] = [(name, payload[:middle]), (name, payload[middle:])]
    elif kind == 4:
        chunks[one:one] = [(rng.choice((b"IDAT", b"tEXt", b"prVt", chunks[two][0])), b"")] * rng.choice((3, 2000))
    else:
        others = _png_chunks(rng.choice([seed for seed in seeds if seed.format == "png"] or seeds).data)
        chunks[one:one] = others[rng.randrange(len(others)) :][:3] if others else []
    return _join_png(chunks)


def change_jpeg_segment(data: bytes, rng: Random, seeds: Sequence[Seed]) -> bytes:
    """Damage a segment's data or length, and the frame's sizes above all."""
    found = [found.start() for found in re.finditer(rb"\xff[\xc0-\xcf\xda-\xef\xfe]", data)]
    if not found:
        return flip_bits(data, rng, seeds)
    frames = [at for at in found if data[at + 1] in (0xC0, 0xC1, 0xC2)]
    at = rng.choice(frames) if frames and rng.random() < 0.4 else rng.choice(found)
    kind = rng.randrange(4)
    changed = bytearray(data)
    if at in frames and kind:
        # Height, width, components, and then their identifiers, sampling and tables.
        where = at + rng.choice((5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18))
        size = 2 if where < at + 9 else 1
        changed[where : where + size] = (_number(rng) & (1 << 8 * size) - 1).to_bytes(size, "big")
    elif kind == 0:
        changed[at + 2 : at + 4] = (_number(rng) & 0xFFFF).to_bytes(2, "big")
    elif kind == 1:
        changed[at + 1] = rng.choice((*range(0xC0, 0xD0), *range(0xD8, 0xE3), 0xEE, 0xFE))
    else:
        end = min(at + 4 + rng.randint(1, 20), len(changed))
        changed[at + 4 : end] = rng.randbytes(end - at - 4) if end > at + 4 else b""
    return bytes(changed)


def repeat_jpeg_segment(data: bytes, rng: Random, seeds: Sequence[Seed]) -> bytes:
    """Repeat a segment or a whole scan, up to thousands of times, or copy one elsewhere."""
    found = [found.start() for found in re.finditer(rb"\xff[\xc0-\xc7\xda-\xdd\xe0-\xef]", data)]
    if len(found) < 2:
        return flip_bits(data, rng, seeds)
    number = rng.randrange(len(found))
    start, end = found[number], found[number + 1] if number + 1 < len(found) else max(len(data) - 2, found[number])
    target = rng.choice((end, end, rng.choice(found), max(len(data) - 2, 0)))
    times = rng.choice((1, 2, 20, 300, 3000))
    return data[:target] + data[start:end] * max(1, min(times, 2_000_000 // max(1, end - start))) + data[target:]


def change_tiff_entry(data: bytes, rng: Random, seeds: Sequence[Seed]) -> bytes:
    """Change the tag, type, count or value of an entry in the first directory, or the number of entries."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:3] == b"+" or data[3:4] == b"+"
    offset, count, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    at = struct.unpack_from(order + offset, data, 8 if big else 4)[0] if len(data) >= 16 else 0
    if not 8 <= at <= len(data) - 32:
        return flip_bits(data, rng, seeds)
    (entries,) = struct.unpack_from(order + count, data, at)
    start, size = at + struct.calcsize(order + count), 4 + 2 * inline
    changed = bytearray(data)
    kind = rng.randrange(9)
    entry = start + size * rng.randrange(max(1, min(entries, 40)))
    value = _number(rng) % (1 << 8 * inline)
    if entry + size > len(data) or kind == 8:
        struct.pack_into(order + count, changed, at, value % (1 << 8 * struct.calcsize(order + count)))
    elif kind == 0:
        struct.pack_into(order + "H", changed, entry, rng.choice((*range(254, 345), 347, 530, 34675, 34665, 700)))
    elif kind == 1:
        struct.pack_into(order + "H", changed, entry + 2, rng.choice((*range(0, 19), 65535)))
    elif kind in (2, 3):
        struct.pack_into(order + offset, changed, entry + 4, value)
    elif kind == 4:
        # In a big-endian file a short value is in the first half of its field.
        struct.pack_into(order + "H", changed, entry + 4 + inline, value % 65536)
    elif kind == 5:
        changed[entry : entry + size] = changed[start + size * rng.randrange(max(1, min(entries, 40))) :][:size]
    else:
        struct.pack_into(order + offset, changed, entry + 4 + inline, value)
    return bytes(changed)


def change_jpeg2000_segment(data: bytes, rng: Random, seeds: Sequence[Seed]) -> bytes:
    """Change a number in the size, the coding, the quantization or the header of a tile part, or in a box."""
    found = [found.end() for found in re.finditer(rb"\xff[\x51-\x53\x5c\x90]|ihdr|colr|cdef|pclr|cmap|jp2c|jp2h", data)]
    if not found:
        return flip_bits(data, rng, seeds)
    size = rng.choice((1, 1, 2, 4))
    at = rng.choice(found) + rng.randrange(40)
    return data[:at] + (_number(rng) % (1 << 8 * size)).to_bytes(size, "big") + data[at + size :]


BLIND: tuple[Mutation, ...] = (
    flip_bits, set_integer, set_integer, cut_short, delete_block, repeat_block, move_block, splice
)  # fmt: skip
STRUCTURED: dict[str, tuple[Mutation, ...]] = {
    "jpeg": (change_jpeg_segment, change_jpeg_segment, repeat_jpeg_segment),
    "png": (change_png_chunk, change_png_chunk, reorder_png_chunks),
    "tiff": (change_tiff_entry,),
    "jpeg2000": (change_jpeg2000_segment,),
}


def _place(data: bytes | bytearray, rng: Random) -> int:
    """Choose an offset, usually near the start: headers are short and matter most."""
    return rng.randrange(max(1, min(len(data), rng.choice((32, 256, len(data))))))


def _block(data: bytes, rng: Random) -> tuple[int, int]:
    start = _place(data, rng)
    return start, min(len(data), start + rng.randint(1, _MOST_BLOCK))


def _number(rng: Random) -> int:
    return rng.choice(_INTERESTING) if rng.random() < 0.8 else rng.getrandbits(rng.choice((8, 16, 32)))


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks: list[tuple[bytes, bytes]] = []
    at = 8
    while at + 12 <= len(data) and len(chunks) < 5000:
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _join_png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))
        for name, payload in chunks
    )


def _change_png_header(payload: bytes, rng: Random) -> bytes:
    changed = bytearray(payload.ljust(13, b"\0"))
    if rng.random() < 0.5:
        struct.pack_into(">I", changed, rng.choice((0, 4)), _number(rng) % 2**32)
    else:
        changed[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return bytes(changed)


def _repack(payload: bytes, rng: Random) -> bytes:
    """Change the pixels under the compression, up to 8 MB of them."""
    try:
        lines = zlib.decompressobj().decompress(payload, 8_000_000)
    except zlib.error:
        return payload
    lines = lines * rng.choice((1, 1, 2, 100)) if len(lines) < 80_000 else lines
    return zlib.compress(flip_bits(lines, rng, ()), 1)
