"""Build image files in memory, byte by byte where no encoder writes what a test needs.

Everything is drawn from code, so that a test knows each stored sample; nothing here reads through `pipelines`.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[Any]

BLOCK = 8
"""Side of the block by which JPEG encodes: one of a single colour comes back exactly at quality 100."""


def mosaic(rows: int = 4, columns: int = 6, bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Draw blocks of 8x8 pixels, each of one random colour: uint8[8 rows, 8 columns, bands]."""
    colours: Samples = np.random.default_rng(seed).integers(0, 256, (rows, columns, bands), np.uint8)
    return np.asarray(colours.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1))


def picture(height: int = 48, width: int = 64, bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Draw smooth waves, another one in each band: uint8[height, width, bands]."""
    frequencies = np.random.default_rng(seed).uniform(1, 4, (2, bands))
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j, 0:1:1j][:2]  # fmt: skip
    waves = np.sin(frequencies[0] * y * np.pi + np.arange(bands)) * np.cos(frequencies[1] * x * np.pi)
    return np.asarray(np.rint(127.5 + 120 * waves), np.uint8)


def deep(samples: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint16]:
    """Spread 8-bit samples over 16 bits, with a random low byte."""
    low = np.random.default_rng(seed).integers(0, 256, samples.shape, np.uint16)
    spread: NDArray[np.uint16] = samples * np.uint16(256) + low
    return spread


def encode(samples: NDArray[np.uint8] | Image.Image, format_name: str, **options: Any) -> bytes:
    """Encode by Pillow."""
    image = samples if isinstance(samples, Image.Image) else Image.fromarray(samples.squeeze())
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


# JPEG

_FRAMES = (0xC0, 0xC1, 0xC2)


class JpegSegment(NamedTuple):
    """A marker, its payload, and the entropy-coded data that follow it (those of a scan only)."""

    marker: int
    payload: bytes
    entropy: bytes = b""


def jpeg_segments(data: bytes) -> list[JpegSegment]:
    """Split a JPEG into its segments, between SOI and EOI."""
    segments, at = [], 2
    while data[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        # In a scan 0xFF stands before a stuffed 0 or a restart marker; anything else ends it.
        following = re.compile(rb"\xff[^\0\xd0-\xd7]").search(data, end)
        assert following, "a JPEG ends with EOI"
        segments.append(JpegSegment(data[at + 1], data[at + 4 : end], data[end : following.start()]))
        at = following.start()
    return segments


def join_jpeg(segments: Sequence[JpegSegment]) -> bytes:
    """Put a JPEG together from `jpeg_segments`."""
    parts = [
        struct.pack(">BBH", 0xFF, segment.marker, len(segment.payload) + 2) + segment.payload + segment.entropy
        for segment in segments
    ]
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"


def four_component_jpeg(
    stored: NDArray[np.uint8],
    *,
    adobe: int | None = None,
    ids: bytes = b"\0\1\2\3",
    quality: int = 100,
    **options: Any,
) -> bytes:
    """Encode four components as they are, with the Adobe marker of a colour transform or with none.

    Args:
      stored: uint8[h, w, 4].
      adobe: the transform that the Adobe marker names; no such marker where None.
      ids: the identifiers of the components.
      quality: of the encoder.
      options: for Pillow, e.g. `icc_profile`.
    """
    # Pillow inverts CMYK as it writes.
    image = Image.frombytes("CMYK", stored.shape[1::-1], (255 - stored).tobytes())
    return rename_components(encode(image, "jpeg", quality=quality, **options), ids, adobe=adobe)


def rename_components(data: bytes, ids: bytes, adobe: int | None = None) -> bytes:
    """Give the components of a JPEG other identifiers, drop its JFIF marker, and set or drop its Adobe marker."""
    segments = jpeg_segments(data)
    [frame] = [segment.payload for segment in segments if segment.marker in _FRAMES]
    names = dict(zip(frame[6::3], ids, strict=True))
    changed = []
    for marker, original, entropy in segments:
        payload = bytearray(original)
        if marker in _FRAMES:
            payload[6::3] = ids
        elif marker == 0xDA:
            named = slice(1, 1 + 2 * payload[0], 2)
            payload[named] = bytes(names[name] for name in payload[named])
        elif marker == 0xEE and adobe is not None:
            payload[11] = adobe
        elif marker in (0xE0, 0xEE):
            continue
        changed.append(JpegSegment(marker, bytes(payload), entropy))
    return join_jpeg(changed)


def unmarked_rgba_jpeg(
    rgb: NDArray[np.uint8], mask: NDArray[np.uint8] | int = 255, *, quality: int = 100, **options: Any
) -> bytes:
    """Encode RGB and a fourth component with the reference set's defect: no Adobe marker, no APP segment at all."""
    fourth = np.broadcast_to(np.asarray(mask, np.uint8), rgb.shape[:2])
    return four_component_jpeg(np.dstack([rgb, fourth]), quality=quality, **options)


# PNG

PNG_COLOUR_TYPES = {"L": 0, "RGB": 2, "P": 3, "LA": 4, "RGBA": 6}


def png_chunk(name: bytes, payload: bytes) -> bytes:
    """Frame a chunk: length, name, payload, checksum."""
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png_header(width: int, height: int, bits: int = 8, colour_type: int = 2) -> bytes:
    """Write the signature and the IHDR chunk."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def png(samples: Samples, mode: str, *, bits: int | None = None, chunks: Mapping[bytes, bytes] | None = None) -> bytes:
    """Write a PNG of any depth.

    Args:
      samples: uint8 or uint16, [h, w] or [h, w, bands].
      mode: one of `PNG_COLOUR_TYPES`.
      bits: bits a sample, 1 to 16; by default as many as the dtype has.
      chunks: payloads by name, written in this order before the pixels, e.g. PLTE, tRNS.
    """
    bits = bits or samples.dtype.itemsize * 8
    rows = samples.reshape(len(samples), -1)
    if bits < 8:
        expanded = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        rows = np.packbits(expanded.reshape(len(rows), -1), axis=-1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows.astype(rows.dtype.newbyteorder(">")))
    extra = b"".join(png_chunk(name, payload) for name, payload in (chunks or {}).items())
    header = png_header(samples.shape[1], samples.shape[0], bits, PNG_COLOUR_TYPES[mode])
    return header + extra + png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b"")


# TIFF

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_TIFF_KINDS = {"B": 1, "H": 3, "I": 4, "Q": 16}


def tiff(
    samples: Samples,
    photometric: int,
    *,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    pages: int = 1,
    deflate: bool = False,
    tags: Mapping[int, tuple[str, Sequence[int]]] | None = None,
    without: Collection[int] = (),
) -> bytes:
    """Write a TIFF of one strip (one a plane).

    Args:
      samples: [h, w] or [h, w, bands], any dtype; booleans are packed to 1 bit.
      photometric: the photometric interpretation.
      order: `<` (II) or `>` (MM).
      big: write BigTIFF.
      planar: store the bands one after the other.
      pages: how often the image is written.
      deflate: compress the strips.
      tags: further tags, or other values than the usual ones: struct code (B, H, I, Q) and values.
      without: usual tags to leave out.
    """
    samples = samples[..., None] if samples.ndim == 2 else samples
    height, width, bands = samples.shape
    planes = [samples[..., band] for band in range(bands)] if planar else [samples]
    strips = [_tiff_strip(plane, order, deflate) for plane in planes]
    bits = 1 if samples.dtype == bool else samples.dtype.itemsize * 8
    head = struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8)))
    data = (b"II" if order == "<" else b"MM") + head
    for page in range(pages):
        # The strips come first, but the header points at the first directory; so it is patched below.
        offsets, directory = [], len(data)
        for strip in strips:
            offsets.append(directory)
            directory += len(strip) + len(strip) % 2
        data += b"".join(strip + b"\0" * (len(strip) % 2) for strip in strips)
        data = _patch_offset(data, len(data), order, big) if page == 0 else data
        entries: dict[int, tuple[str, Sequence[int]]] = {
            256: ("I", [width]),
            257: ("I", [height]),
            258: ("H", [bits] * bands),
            259: ("H", [8 if deflate else 1]),
            262: ("H", [photometric]),
            273: ("Q" if big else "I", offsets),
            277: ("H", [bands]),
            278: ("I", [height]),
            279: ("Q" if big else "I", [len(strip) for strip in strips]),
            284: ("H", [2 if planar else 1]),
            **(tags or {}),
        }
        entries = {tag: values for tag, values in entries.items() if tag not in without}
        data += _tiff_directory(entries, len(data), order, big, last=page == pages - 1, strips=sum(map(len, strips)))
    return data


def _tiff_strip(plane: Samples, order: str, deflate: bool) -> bytes:
    packed = np.packbits(plane[..., 0], axis=1) if plane.dtype == bool else plane
    raw = packed.astype(packed.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
    return zlib.compress(raw) if deflate else raw


def _patch_offset(data: bytes, offset: int, order: str, big: bool) -> bytes:
    return data[:8] + struct.pack(order + "Q", offset) + data[16:] if big else (
        data[:4] + struct.pack(order + "I", offset) + data[8:]
    )  # fmt: skip


def _tiff_directory(
    entries: Mapping[int, tuple[str, Sequence[int]]], at: int, order: str, big: bool, *, last: bool, strips: int
) -> bytes:
    """Write a directory at a byte offset, then the values that do not fit into it."""
    offset, inline = ("Q", 8) if big else ("I", 4)
    start = struct.pack(order + ("Q" if big else "H"), len(entries))
    values_at = at + len(start) + len(entries) * (4 + 2 * inline) + inline
    table, values = b"", b""
    for tag, (code, numbers) in sorted(entries.items()):
        payload = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        where = payload.ljust(inline, b"\0")
        if len(payload) > inline:
            where = struct.pack(order + offset, values_at + len(values))
            values += payload + b"\0" * (len(payload) % 2)
        table += struct.pack(f"{order}HH{offset}", tag, _TIFF_KINDS[code], len(numbers)) + where
    # The next page's strips lie between this directory and its own.
    following = 0 if last else values_at + len(values) + strips + strips % 2
    return start + table + struct.pack(order + offset, following) + values


# Others


def exif(orientation: int) -> bytes:
    """Write an EXIF block with the orientation alone."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def turned(pixels: Samples, orientation: int) -> Samples:
    """Show pixels upright that were stored with an EXIF orientation (1 to 8)."""
    ways: dict[int, Callable[[Samples], Samples]] = {
        1: lambda stored: stored,
        2: lambda stored: stored[:, ::-1],
        3: lambda stored: stored[::-1, ::-1],
        4: lambda stored: stored[::-1],
        5: lambda stored: stored.swapaxes(0, 1),
        6: lambda stored: np.rot90(stored, -1),
        7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
        8: lambda stored: np.rot90(stored),
    }
    return ways[orientation](pixels)


def bomb(format_name: str, width: int = 60_000, height: int = 60_000) -> bytes:
    """Write a file of some hundred bytes whose header claims a huge image."""
    tiny = np.zeros((8, 8, 3), np.uint8)
    data = bytearray(encode(tiny, format_name, **({"lossless": True} if format_name == "webp" else {})))
    if format_name == "jpeg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    elif format_name == "png":
        return png_header(width, height) + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")
    elif format_name == "tiff":
        return tiff(tiny, RGB, tags={256: ("I", [width]), 257: ("I", [height])})
    elif format_name == "gif":
        data[6:10] = struct.pack("<HH", width, height)
        at = data.index(b",") + 1
        data[at + 4 : at + 8] = struct.pack("<HH", width, height)
    elif format_name == "bmp":
        data[18:26] = struct.pack("<ii", width, height)
    elif format_name == "jpeg2000":
        size, header = data.index(b"\xff\x4f\xff\x51") + 8, data.index(b"ihdr") + 4
        data[header : header + 8] = struct.pack(">II", height, width)
        # The image, and its only tile.
        data[size : size + 8] = data[size + 16 : size + 24] = struct.pack(">II", width, height)
    elif format_name == "webp":
        # 14 bits each are all that a WebP has, so it can claim 16384 x 16384 at most.
        at = data.index(b"VP8L") + 9
        data[at : at + 4] = struct.pack("<I", (min(width, 16384) - 1) | (min(height, 16384) - 1) << 14)
    return bytes(data)


# Folders of chips


def write_chips(
    folder: Path, names: Sequence[str], *, size: int = 32, quality: int = 95
) -> dict[str, NDArray[np.uint8]]:
    """Write one unmarked RGBA JPEG a name, each another picture; return by name the RGB that was drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {name: picture(size, size, seed=seed) for seed, name in enumerate(names)}
    for name, rgb in drawn.items():
        (folder / name).write_bytes(unmarked_rgba_jpeg(rgb, quality=quality))
    return drawn
