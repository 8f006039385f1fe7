"""Read the layout of a PNG from its chunks; PNG specification (third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import partial

from pipelines.images.layout import (
    DAMAGED_PROFILE,
    DamagedImageError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)
from pipelines.images.metadata import inflate, read_orientation
from pipelines.images.profiles import MOST_PROFILE_BYTES, is_like_srgb

# Pillow reads chunks one by one, and a file can consist of empty ones. With pixels in chunks of 8 kB, as libpng writes
# them, the largest image that is decoded has 63,000.
_MOST_CHUNKS = 200_000
_MOST_TEXT = 1_000_000
_PALETTE = 3
# Code points of cICP: primaries, transfer, matrix, full range. Those of high dynamic range leave most levels to what is
# brighter than white.
_SRGB_CODES = (1, 13, 0, 1)
_HIGH_RANGE = {16: "PQ", 18: "HLG"}
_SPACES = frozenset((b"cICP", b"sRGB", b"gAMA", b"cHRM"))
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_Chunks = dict[bytes, list[bytes]]
# The chunks on which pixels depend, so that Pillow need not see the others: it would unpack each text and profile.
_PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_MOST_UNPACKED, _PIECE = 1_000_000, 1 << 16
# First row, first column, and their steps in the seven passes of an interlaced PNG; section 8.1.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_RAW_EXIF = b"Raw profile type exif"


def read_png(data: bytes) -> Layout:
    """Read the header and what turns or recolours the pixels, and verify checksums."""
    width, height, bits, colour_type = struct.unpack_from(">IIBB", data, 16)
    samples = _SAMPLES.get(colour_type)
    if data[12:16] == b"CgBI":
        raise UnsupportedImageError("PNG in Apple's own variant (CgBI) is not supported")
    if data[12:16] != b"IHDR" or samples is None:
        raise DamagedImageError("damaged PNG header")
    chunks, kept, whole = _read_chunks(data)
    if colour_type == _PALETTE and b"PLTE" not in chunks:
        raise DamagedImageError("damaged PNG: its palette is missing")
    return Layout(
        "png",
        width,
        height,
        samples,
        bits,
        frames=_count_frames(chunks),
        gray=colour_type in (0, 4),
        scaled_from=_read_significant_bits(chunks, samples, bits),
        orientation=_read_orientation(chunks),
        profile=_read_profile(chunks),
        ignores_space=_ignores_space(chunks, gray=colour_type in (0, 4)),
        to_pixels=bytes if whole else partial(_to_pixels, kept),
    )


def _to_pixels(kept: Sequence[tuple[int, int]], data: bytes) -> bytes:
    view = memoryview(data)
    return b"".join(view[start:end] for start, end in kept)


def _read_chunks(data: bytes) -> tuple[_Chunks, list[tuple[int, int]], bool]:
    """Sort the chunks of a PNG.

    Returns:
      The payloads of chunks that say something about the image, by name; where the chunks that hold its pixels begin
      and end, contiguous ones together; and whether there are no others.
    """
    view = memoryview(data)
    chunks: _Chunks = {}
    kept, whole = [(0, 8)], True
    at, number = 8, 0
    while at + 12 <= len(data):
        number += 1
        if number > _MOST_CHUNKS:
            raise DamagedImageError(f"damaged PNG: more than {_MOST_CHUNKS:,} chunks")
        (length,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            if b"IDAT" in chunks and name != b"IDAT":
                break
            raise DamagedImageError("truncated PNG data")
        if name in (b"IHDR", b"PLTE") and not _is_intact(view, at, end):
            raise DamagedImageError(f"damaged PNG: wrong checksum of {name.decode()} at byte {at}")
        # Transparency changes no colour, so it need not be whole.
        if name not in _PIXELS or (name == b"tRNS" and (b"IDAT" in chunks or not _is_transparency(view, at, end))):
            whole = False
        elif kept[-1][1] == at:
            kept[-1] = (kept[-1][0], end)
        else:
            kept.append((at, end))
        if name == b"PLTE":
            chunks.setdefault(name, [b""])
        elif name == b"IDAT":
            if not _is_intact(view, at, end):
                raise DamagedImageError(f"damaged PNG: wrong checksum of the pixel data at byte {at}")
            chunks.setdefault(name, [b""])
        elif name in (b"iCCP", b"eXIf", b"acTL", b"fcTL", b"sBIT", *_SPACES) or (
            name in (b"tEXt", b"zTXt") and data.startswith(_RAW_EXIF, at + 8)
        ):
            # A profile after the pixels is not theirs; frames there do not matter.
            if b"IDAT" in chunks and name in (b"iCCP", b"acTL", b"fcTL", b"sBIT", *_SPACES):
                pass
            elif name == b"fcTL" or _is_intact(view, at, end):
                chunks.setdefault(name, []).append(data[at + 8 : end - 4])
            elif name == b"iCCP":
                chunks.setdefault(name, []).append(b"")
        at = end
        if name == b"IEND":
            break
    return chunks, kept, whole


def holds_all_rows(data: bytes, layout: Layout) -> bool:
    """Unpack the pixels of a PNG once more, and return whether there are as many as its header says."""
    width, height, bits = layout.width, layout.height, layout.bits * layout.samples
    interlaced = data[28]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(height - y) // down), -(-(width - x) // right)) for y, x, down, right in passes]
    missing = sum(rows * (1 + -(-columns * bits // 8)) for rows, columns in sizes if rows > 0 and columns > 0)
    unpacker = zlib.decompressobj()
    for packed in _packed_pixels(data):
        while packed and missing > 0 and not unpacker.eof:
            missing -= len(unpacker.decompress(packed, _MOST_UNPACKED))
            packed = unpacker.unconsumed_tail
    return missing <= 0


def _is_intact(data: memoryview, at: int, end: int) -> bool:
    """Compare the checksum of a chunk; Pillow ignores those of the pixels."""
    return bool(zlib.crc32(data[at + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0])


def _is_transparency(data: memoryview, at: int, end: int) -> bool:
    """Return whether a chunk is intact and as long as the transparency of its colour type is; section 11.3.1.1."""
    length, colour_type = end - at - 12, data[25]
    fits = length == 2 * _SAMPLES[colour_type] if colour_type != _PALETTE else 0 < length <= 256
    return fits and _is_intact(data, at, end)


def _packed_pixels(data: bytes) -> Iterator[memoryview | bytes]:
    """Yield the packed pixels in small pieces: zlib copies what it has not unpacked yet, each time."""
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        begin, end = at + 8, at + 8 + length
        if data[at + 4 : begin] == b"IDAT":
            yield from (view[piece : min(piece + _PIECE, end)] for piece in range(begin, end, _PIECE))
        at = end + 4


def _count_frames(chunks: _Chunks) -> int:
    """Count the images, up to 2."""
    controls = chunks.get(b"acTL", ())
    if len(controls) != 1 or len(controls[0]) < 4:
        return 1
    (frames,) = struct.unpack_from(">I", controls[0])
    # Without a frame control before them, the pixels are not part of the animation.
    return 1 if frames in (0, 1) and (b"fcTL" in chunks or not frames) else 2


def _read_significant_bits(chunks: _Chunks, samples: int, bits: int) -> int:
    """Read how many bits the samples had before they were scaled, as the specification demands; section 11.3.2.7.

    As many as they have now say nothing: any 16-bit number has 16 bits.
    """
    significant = max(chunks.get(b"sBIT", [b""])[0][: samples - (samples in (2, 4))], default=0)
    return significant if significant < bits else 0


def _read_profile(chunks: _Chunks) -> bytes | None:
    """Unpack the ICC profile; section 11.3.2.3."""
    profiles = chunks.get(b"iCCP", ())
    if not profiles:
        return None
    _, _, packed = profiles[0].partition(b"\0")
    # The specification allows one. Of several, Pillow takes the last, and libpng the first.
    if len(profiles) > 1 or packed[:1] != b"\0":
        return DAMAGED_PROFILE
    return inflate(packed[1:], MOST_PROFILE_BYTES + 1)


def _ignores_space(chunks: _Chunks, *, gray: bool) -> bool:
    """Return whether chunks other than a profile state a colour space that is not sRGB; of these, the first one counts.

    As in other decoders, but unlike in browsers, they are not followed. Section 4.3.

    Raises:
      UntrustedColoursError: it is one of high dynamic range.
    """
    codes, gamma, places = (chunks.get(name, [b""])[0] for name in (b"cICP", b"gAMA", b"cHRM"))
    if b"iCCP" in chunks:
        return False
    if len(codes) == 4:
        if codes[1] in _HIGH_RANGE:
            raise UntrustedColoursError(f"PNG of high dynamic range ({_HIGH_RANGE[codes[1]]}): it is not in sRGB")
        return tuple(codes) != _SRGB_CODES
    if b"sRGB" in chunks:
        return False
    exponent = int.from_bytes(gamma, "big") / 100_000 if len(gamma) == 4 else 0
    white_and_primaries = [place / 100_000 for place in struct.unpack(">8I", places)] if len(places) == 32 else None
    return not is_like_srgb(exponent or None, None if gray else white_and_primaries)


def _read_orientation(chunks: _Chunks) -> int:
    """Read the orientation from EXIF, or from the text in which ImageMagick stores it."""
    exif = chunks.get(b"eXIf", [b""])[-1]
    texts = [(name, text) for name in (b"tEXt", b"zTXt") for text in chunks.get(name, ())]
    if not exif and (raw := [(name, text) for name, text in texts if text.startswith(_RAW_EXIF + b"\0")]):
        name, text = raw[-1]
        text = text[len(_RAW_EXIF) + 1 :]
        text = inflate(text[1:], _MOST_TEXT) if name == b"zTXt" else text
        exif = _from_hex(b"".join(text.split(b"\n")[3:]))
    return read_orientation(exif)


def _from_hex(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""
