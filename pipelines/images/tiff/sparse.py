"""Fill in the strips or tiles that a sparse TIFF leaves out, as GDAL and libtiff read them."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError, UnsupportedImageError
from pipelines.images.tiff.predictors import FLOATING, HORIZONTAL, apply_floating
from pipelines.images.tiff.strips import read_grid, read_predictor, samples_per_piece, unpacked_sizes
from pipelines.images.tiff.tags import (
    BITS,
    COMPRESSION,
    DEFLATE,
    HEIGHT,
    JPEG,
    LZMA,
    LZW,
    OLD_DEFLATE,
    PACK_BITS,
    PHOTOMETRIC,
    STRIP_OFFSETS,
    STRIP_SIZES,
    SUBSAMPLING,
    TILE_OFFSETS,
    TILE_SIZES,
    UNCOMPRESSED,
    YCBCR,
    Tags,
)

# A code table that is cleared this often never needs codes of more than 9 bits; 8 times as many codes are whole bytes.
_LITERALS = 8 * 250
# The largest block of Zstandard, RFC 8878.
_ZSTD_BLOCK = 1 << 17
_END_OF_JPEG = b"\xff\xd9"
# Pillow's numbers of the subsamplings that it writes.
_SUBSAMPLINGS: dict[tuple[int, ...], int] = {(1, 1): 0, (2, 1): 1, (2, 2): 2}


def fill_missing(
    data: bytes, tags: Tags, tables: bytes, no_data: float | None, order: str, kind: str = ""
) -> tuple[bytes, Tags]:
    """Append a blank strip or tile to a TIFF, and let those that are left out begin there.

    Args:
      data: the file.
      tags: of the file.
      tables: a JPEG of tables alone, which those in the file share; empty if there is none.
      no_data: the value that stands for no data; None for 0.
      order: of bytes, as `struct` names it.
      kind: of the samples, as NumPy names it; unsigned integers if it is empty.

    Returns:
      File and tags; unchanged if nothing is left out.

    Raises:
      DamagedImageError: everything is left out.
      UnsupportedImageError: there is no blank piece in the file's compression.
    """
    offsets_tag, sizes_tag = (TILE_OFFSETS, TILE_SIZES) if TILE_OFFSETS in tags else (STRIP_OFFSETS, STRIP_SIZES)
    offsets, sizes = tags.get(offsets_tag, ()), tags.get(sizes_tag, ())
    # Where nothing is compressed, some programs write no sizes.
    needs_size = tags.get(COMPRESSION, (1,))[0] != UNCOMPRESSED
    if not (needs_size or sizes):
        sizes = tuple(unpacked_sizes(tags, read_grid(tags)))
    if len(offsets) != len(sizes) or not (0 in offsets or 0 in sizes):
        return data, tags
    missing = [not offset or (needs_size and not size) for offset, size in zip(offsets, sizes, strict=True)]
    if not any(missing):
        return data, tags
    if all(missing):
        raise DamagedImageError("TIFF that leaves out all of its pixels")
    places, grid = list(zip(offsets, sizes, strict=True)), read_grid(tags)
    blanks: dict[int, tuple[int, int]] = {}
    for number, lacks in enumerate(missing):
        if lacks:
            rows = grid.rows_of(number, tags[HEIGHT][0])
            if rows not in blanks:
                blank = _write_blank(tags, rows, tables, no_data or 0, order, kind)
                blanks[rows], data = (len(data), len(blank)), data + blank
            places[number] = blanks[rows]
    filled_offsets, filled_sizes = zip(*places, strict=True)
    return data, {**tags, offsets_tag: filled_offsets, sizes_tag: filled_sizes}


def _write_blank(tags: Tags, rows: int, tables: bytes, value: float, order: str, kind: str) -> bytes:
    """Return a strip or tile whose samples all have a value."""
    columns, samples = read_grid(tags).columns, samples_per_piece(tags)
    bits, compression = tags.get(BITS, (1,))[0], tags.get(COMPRESSION, (1,))[0]
    if compression == JPEG:
        return _write_jpeg(tags, (rows, columns, samples), tables, int(value))
    if bits < 8:
        # As many samples as a byte has, next to one another.
        value *= 255 // ((1 << bits) - 1)
        piece: NDArray[Any] = np.full(rows * -(-columns * samples * bits // 8), value, np.uint8)
    else:
        piece = np.full((rows, columns, samples), value, f"{order}{kind or f'u{bits // 8}'}")
        predictor = read_predictor(tags)
        if predictor == HORIZONTAL:
            piece[:, 1:] = 0
        if predictor == FLOATING:
            return _pack(apply_floating(piece), compression)
    return _pack(piece.tobytes(), compression)


def _pack(samples: bytes, compression: int) -> bytes:
    if compression == UNCOMPRESSED:
        return samples
    if compression in (DEFLATE, OLD_DEFLATE):
        return zlib.compress(samples, 1)
    if compression == PACK_BITS:
        return pack_bits(samples)
    if compression == LZW:
        return b"".join(_lzw(samples[at : at + _LITERALS]) for at in range(0, len(samples), _LITERALS))
    if compression == LZMA:
        return lzma.compress(samples, preset=0)
    return _zstd(samples)


def pack_bits(samples: bytes) -> bytes:
    """Write samples as runs of up to 128 literal bytes: the length less one, then the bytes."""
    return b"".join(
        bytes((len(run) - 1,)) + run for run in (samples[at : at + 128] for at in range(0, len(samples), 128))
    )


def _lzw(samples: bytes) -> bytes:
    """Write samples as LZW codes of 9 bits; TIFF 6.0, section 13."""
    padded = np.frombuffer(samples.ljust(_LITERALS, b"\0"), np.uint8).astype(np.uint16).reshape(8, -1)
    codes = np.hstack([np.full((8, 1), 256, np.uint16), padded]).ravel()
    return np.packbits(codes[:, None] >> np.arange(8, -1, -1, dtype=np.uint16) & 1).tobytes()


def _zstd(samples: bytes) -> bytes:
    """Write samples as they are in a frame of Zstandard, in a single segment with its size; RFC 8878, section 3.1.1."""
    frame = bytes.fromhex("28b52ffd a0") + struct.pack("<I", len(samples))
    for at in range(0, len(samples), _ZSTD_BLOCK):
        block = samples[at : at + _ZSTD_BLOCK]
        is_last = at + _ZSTD_BLOCK >= len(samples)
        frame += struct.pack("<I", len(block) << 3 | is_last)[:3] + block
    return frame


def _write_jpeg(tags: Tags, shape: tuple[int, int, int], tables: bytes, value: int) -> bytes:
    """Write a JPEG; tables that others share follow its pixels, for libtiff does not set them up for each JPEG."""
    rows, columns, samples = shape
    is_ycbcr = tags.get(PHOTOMETRIC, (1,))[0] == YCBCR and samples == 3
    subsampling = _SUBSAMPLINGS.get(tags.get(SUBSAMPLING, (2, 2))[:2]) if is_ycbcr else 0
    mode = {1: "L", 3: "RGB"}.get(samples)
    if mode is None or subsampling is None:
        raise UnsupportedImageError(
            f"JPEG-compressed TIFF of {quantity(samples, 'band')} that leaves out strips or tiles"
        )
    blank = Image.new(mode, (columns, rows), (value,) * samples if samples > 1 else value)
    buffer = io.BytesIO()
    kind = {"keep_rgb": True} if samples == 3 and not is_ycbcr else {}
    blank.save(buffer, "jpeg", quality=100, subsampling=subsampling, **kind)
    return b"".join((buffer.getvalue()[:-2], tables.rstrip(b"\0")[2:-2], _END_OF_JPEG))
