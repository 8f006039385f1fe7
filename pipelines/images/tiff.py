"""Read the layout of a TIFF or BigTIFF from the directory of its main image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from pipelines.images.layout import (
    DamagedImageError,
    Layout,
    UnsupportedImageError,
    UntrustedColoursError,
)
from pipelines.images.tiff_bands import find_colours
from pipelines.images.tiff_directories import (
    EXTRA,
    INKS,
    METADATA,
    NO_DATA,
    ORIENTATION,
    PHOTOMETRIC,
    PROFILE,
    SAMPLE_FORMAT,
    Directory,
    read_directory,
)
from pipelines.images.tiff_places import check_places
from pipelines.images.tiff_rewriting import leave_pixels
from pipelines.images.tiff_sparse import fill_missing
from pipelines.images.tiff_strips import BITS, COMPRESSION, HEIGHT, JPEG, SAMPLES, WIDTH, check_pieces, read_jpegs

# Uncompressed, LZW, JPEG, deflate (two codes), PackBits, LZMA, Zstandard. Other decoders, above all those of fax codes,
# silently leave uninitialized memory where they cannot read: perhaps the pixels of another image.
_COMPRESSIONS = (1, 5, 7, 8, 32773, 32946, 34925, 50000)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_ALPHA = (1, 2)
_CMYK_INKS = 1


def read_tiff(data: bytes) -> Layout:
    """Read the directory of the main image of a TIFF or BigTIFF, and refuse it if its colours are ambiguous."""
    directory = read_directory(data)
    tags = directory.tags
    bits, samples = tags.get(BITS, (1,)), tags.get(SAMPLES, (1,))[0]
    if max(bits) > 8 and samples > 1:
        raise UntrustedColoursError(
            f"{max(bits)}-bit multi-band TIFF ({samples} bands): the file does not say which bands are red, green and "
            "blue, or how bright white is"
        )
    bands = _read_bands(directory, samples)
    _check_samples(tags, bands.photometric, bits)
    compression = tags.get(COMPRESSION, (1,))[0]
    if compression not in _COMPRESSIONS:
        raise UnsupportedImageError(f"TIFF compression {compression} is not supported: its decoder hides damage")
    if WIDTH not in tags or HEIGHT not in tags:
        raise DamagedImageError("damaged TIFF: its width or height is missing")
    layout = Layout(
        "tiff",
        tags[WIDTH][0],
        tags[HEIGHT][0],
        samples,
        bits[0],
        frames=directory.pictures,
        bands=bands.order,
        has_extra_band=bands.has_extra,
        gray=bands.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO),
        orientation=_read_orientation(directory),
        profile=bytes(directory.texts[PROFILE]) if PROFILE in directory.texts else None,
        to_pixels=partial(_to_pixels, directory, bands.told),
    )
    return layout._replace(read_jpegs=partial(read_jpegs, tags, directory.tables)) if compression == JPEG else layout


class _Bands(NamedTuple):
    """What the bands of a file are.

    Attributes:
      photometric: their photometric interpretation.
      order: numbers of those that are red, green and blue.
      has_extra: whether there is a fourth one that is no opacity.
      told: tags that say so in the words of decoders.
    """

    photometric: int
    order: tuple[int, int, int]
    has_extra: bool
    told: dict[int, tuple[int, ...]]


def _read_bands(directory: Directory, samples: int) -> _Bands:
    tags = directory.tags
    photometric, extra = tags.get(PHOTOMETRIC, (-1,))[0], tags.get(EXTRA, (0,))[0]
    order = None
    told: dict[int, tuple[int, ...]] = {}
    if samples in (3, 4) and photometric in (_RGB, _BLACK_IS_ZERO):
        order = find_colours(bytes(directory.texts.get(METADATA, b"")), samples)
        if order and photometric == _BLACK_IS_ZERO:
            photometric, told = _RGB, {PHOTOMETRIC: (_RGB,)}
    # In RGB, the first three are red, green and blue, whatever the fourth is: near infrared, in aerial images.
    has_fourth = samples == 4 and photometric == _RGB
    if EXTRA in tags and photometric == _RGB and extra not in _ALPHA:
        # Pillow reads a fourth band as opacity or not at all. It is left out in any case.
        told[EXTRA] = _ALPHA[1:] if has_fourth else ()
    colours = _COLOURS.get(photometric)
    if colours is None or not (samples == colours or has_fourth or (samples == colours + 1 and extra in _ALPHA)):
        raise UntrustedColoursError(
            f"{samples}-band TIFF with photometric interpretation {photometric}: its colours are ambiguous"
        )
    return _Bands(photometric, order or (0, 1, 2), has_fourth and extra not in _ALPHA, told)


def _check_samples(tags: Mapping[int, tuple[int, ...]], photometric: int, bits: tuple[int, ...]) -> None:
    """Refuse samples that Pillow does not read, or that decoders read differently."""
    if set(tags.get(SAMPLE_FORMAT, (1,))) != {1} or len(set(bits)) != 1 or bits[0] not in (1, 2, 4, 8, 16):
        raise UnsupportedImageError(
            f"TIFF with {_kind(tags)} samples of {bits[0]} bits: only unsigned integers of 1, 2, 4, 8 or 16 bits, the "
            "same in all bands, are supported"
        )
    if photometric == _WHITE_IS_ZERO and bits[0] == 16:
        raise UntrustedColoursError("16-bit TIFF in which zero is white: decoders disagree about its polarity")
    if photometric == _YCBCR and tags.get(COMPRESSION, (1,))[0] == 1:
        # Pillow reads its samples as RGB with a fourth one between the pixels, and reads beyond their end.
        raise UnsupportedImageError("uncompressed YCbCr TIFF is not supported")
    if photometric == _CMYK and tags.get(INKS, (_CMYK_INKS,))[0] != _CMYK_INKS:
        raise UntrustedColoursError("TIFF with inks other than cyan, magenta, yellow and black")


def _kind(tags: Mapping[int, tuple[int, ...]]) -> str:
    [kind, *_] = tags.get(SAMPLE_FORMAT, (1,))
    return {1: "integer", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}.get(kind, "undefined")


def _read_orientation(directory: Directory) -> int:
    [orientation, *_] = directory.tags.get(ORIENTATION, (1,))
    return orientation if orientation in range(1, 9) else 1


def _to_pixels(directory: Directory, told: dict[int, tuple[int, ...]], data: bytes) -> bytes:
    """Check the strips or tiles, leave out what no pixel depends on, and tell Pillow some tags in its own words."""
    check_places(data, directory)
    no_data = bytes(directory.texts.get(NO_DATA, b""))
    data, tags = fill_missing(data, directory.tags, no_data, directory.form.order)
    check_pieces(data, tags, directory.tables)
    return leave_pixels(directory, data, {**tags, **told})
