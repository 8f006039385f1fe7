"""Read the layout of a TIFF or BigTIFF from its first directory."""

from __future__ import annotations

import struct

import numpy as np

from pipelines.layout import DamagedImageError, Layout, UnsupportedImageError, UntrustedColoursError

# TIFF 6.0 tags and the NumPy types of the field types that these tags may have.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT = 277, 332, 338, 339
_TIFF_TAGS = (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _INKS, _EXTRA, _SAMPLE_FORMAT)
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_ALPHA = (1, 2)
_CMYK_INKS = 1


def read_tiff(data: bytes) -> Layout:
    """Read the first directory of a TIFF or BigTIFF and refuse what has no certain colours."""
    tags, next_directory = _tiff_directory(data)
    bits = tags.get(_BITS, (1,))
    samples = tags.get(_SAMPLES, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC, (-1,))[0]
    if max(bits) > 8 and samples > 1:
        raise UntrustedColoursError(
            f"{max(bits)}-bit multi-band TIFF ({samples} bands): which bands are red, green and blue, and how "
            "bright white is, cannot be told from the file"
        )
    colours = _COLOURS.get(photometric)
    if colours is None or not (samples == colours or (samples == colours + 1 and tags.get(_EXTRA, (0,))[0] in _ALPHA)):
        raise UntrustedColoursError(
            f"TIFF of {samples} bands with photometric interpretation {photometric}: the bands have no certain colours"
        )
    if set(tags.get(_SAMPLE_FORMAT, (1,))) != {1} or len(set(bits)) != 1 or bits[0] not in (1, 2, 4, 8, 16):
        raise UnsupportedImageError(
            f"TIFF samples of {bits[0]} bits: only unsigned integers of 1, 2, 4, 8 or 16 bits are read"
        )
    if photometric == _WHITE_IS_ZERO and bits[0] == 16:
        raise UntrustedColoursError("16-bit TIFF in which white is zero: decoders disagree on its polarity")
    if photometric == _YCBCR and tags.get(_COMPRESSION, (1,))[0] == 1:
        # Pillow takes its samples for RGB with a fourth one between the pixels, and reads on beyond them.
        raise UnsupportedImageError("uncompressed YCbCr TIFF")
    if photometric == _CMYK and tags.get(_INKS, (_CMYK_INKS,))[0] != _CMYK_INKS:
        raise UntrustedColoursError("TIFF of inks other than cyan, magenta, yellow and black")
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: no width or no height")
    return Layout(
        "tiff",
        tags[_WIDTH][0],
        tags[_HEIGHT][0],
        samples,
        bits[0],
        frames=2 if next_directory else 1,
        gray=photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO),
    )


def _tiff_directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Read the integer tags of the first directory, and the offset of the next one (0 at the last)."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    # BigTIFF widens offsets and counts to 8 bytes; otherwise the directories are alike.
    offset_type, count_type, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    (at,) = struct.unpack_from(order + offset_type, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count_type, data, at)
    at += struct.calcsize(order + count_type)
    entry_format = f"{order}HH{offset_type}"
    entry_size = struct.calcsize(entry_format) + inline
    tags = {}
    for entry in range(entries):
        tag, field_type, count = struct.unpack_from(entry_format, data, at + entry * entry_size)
        if field_type not in _TIFF_TYPES or tag not in _TIFF_TAGS:
            continue
        dtype = np.dtype(order + _TIFF_TYPES[field_type])
        where = at + (entry + 1) * entry_size - inline
        if count * dtype.itemsize > inline:
            (where,) = struct.unpack_from(order + offset_type, data, where)
        if not count or where + count * dtype.itemsize > len(data):
            raise DamagedImageError(f"damaged TIFF: tag {tag} has {count} values at byte {where}")
        tags[tag] = tuple(int(value) for value in np.frombuffer(data, dtype, count, where))
    (next_directory,) = struct.unpack_from(order + offset_type, data, at + entries * entry_size)
    return tags, next_directory
