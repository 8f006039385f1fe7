"""Fill in the strips or tiles that a sparse TIFF leaves out, as GDAL and libtiff read them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from pipelines.images.layout import DamagedImageError, UnsupportedImageError
from pipelines.images.tiff_strips import (
    BITS,
    COMPRESSION,
    PREDICTOR,
    STRIP_OFFSETS,
    STRIP_SIZES,
    TILE_OFFSETS,
    TILE_SIZES,
    piece_shape,
)

_NO_COMPRESSION, _LZW, _DEFLATE, _PACK_BITS, _OLD_DEFLATE = 1, 5, 8, 32773, 32946
_HORIZONTAL = 2
# A code table that is cleared this often never needs codes of more than 9 bits; 8 times as many codes are whole bytes.
_LITERALS = 8 * 250

Tags = Mapping[int, tuple[int, ...]]


def fill_missing(data: bytes, tags: Tags, nodata: bytes, order: str) -> tuple[bytes, Tags]:
    """Append a blank strip or tile to a TIFF, and let those that are left out begin there.

    Args:
      data: the file.
      tags: of the file.
      nodata: GDAL's tag of the value that stands for no data; empty for 0.
      order: of bytes, as `struct` names it.

    Returns:
      File and tags; unchanged if nothing is left out.

    Raises:
      DamagedImageError: everything is left out.
      UnsupportedImageError: there is no blank piece in the file's compression.
    """
    offsets_tag, sizes_tag = (TILE_OFFSETS, TILE_SIZES) if TILE_OFFSETS in tags else (STRIP_OFFSETS, STRIP_SIZES)
    offsets, sizes = tags.get(offsets_tag, ()), tags.get(sizes_tag, ())
    if len(offsets) != len(sizes) or not (0 in offsets or 0 in sizes):
        return data, tags
    missing = [not offset or not size for offset, size in zip(offsets, sizes, strict=True)]
    if all(missing):
        raise DamagedImageError("TIFF that leaves out all of its pixels")
    blank, start = _pack(_blank(tags, nodata, order), tags), len(data)
    filled = {
        offsets_tag: tuple(start if lacks else offset for lacks, offset in zip(missing, offsets, strict=True)),
        sizes_tag: tuple(len(blank) if lacks else size for lacks, size in zip(missing, sizes, strict=True)),
    }
    return data + blank, {**tags, **filled}


def _blank(tags: Tags, nodata: bytes, order: str) -> bytes:
    """Return the samples of a blank piece, before compression."""
    rows, columns, samples = piece_shape(tags)
    bits = tags.get(BITS, (1,))[0]
    if bits < 8:
        return bytes(rows * -(-columns * samples * bits // 8))
    try:
        value = min(max(int(float(nodata.strip(b"\0 "))), 0), (1 << bits) - 1)
    except (ValueError, OverflowError):
        value = 0
    piece = np.full((rows, columns, samples), value, f"{order}u{bits // 8}")
    if tags.get(PREDICTOR, (1,))[0] == _HORIZONTAL:
        piece[:, 1:] = 0
    return piece.tobytes()


def _pack(samples: bytes, tags: Tags) -> bytes:
    compression = tags.get(COMPRESSION, (1,))[0]
    if compression == _NO_COMPRESSION:
        return samples
    if compression in (_DEFLATE, _OLD_DEFLATE):
        return zlib.compress(samples)
    if compression == _PACK_BITS:
        # Runs of one byte each: a literal run is its length less one, then the bytes.
        return b"".join(
            bytes((len(run) - 1,)) + run for run in (samples[at : at + 128] for at in range(0, len(samples), 128))
        )
    if compression == _LZW:
        return b"".join(_lzw(samples[at : at + _LITERALS]) for at in range(0, len(samples), _LITERALS))
    raise UnsupportedImageError(f"TIFF with compression {compression} that leaves out strips or tiles")


def _lzw(samples: bytes) -> bytes:
    """Write samples as LZW codes of 9 bits; TIFF 6.0, section 13."""
    padded = np.frombuffer(samples.ljust(_LITERALS, b"\0"), np.uint8).astype(np.uint16).reshape(8, -1)
    codes = np.hstack([np.full((8, 1), 256, np.uint16), padded]).ravel()
    return np.packbits(codes[:, None] >> np.arange(8, -1, -1, dtype=np.uint16) & 1).tobytes()
