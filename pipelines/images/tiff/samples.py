"""Determine what the samples of a TIFF stand for, and say it in Pillow's words."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from pipelines.errors import quantity
from pipelines.images.layout import DamagedImageError, UnsupportedImageError, UntrustedColoursError
from pipelines.images.tiff.bands import check_single, find_colours
from pipelines.images.tiff.directories import Directory
from pipelines.images.tiff.tags import (
    BITS,
    BLACK_IS_ZERO,
    CMYK,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA,
    FLOAT,
    FORMATS,
    INKS,
    JPEG,
    MASK_PHOTOMETRIC,
    METADATA,
    NO_DATA,
    PALETTE,
    PHOTOMETRIC,
    PLANES,
    RGB,
    SAMPLE_FORMAT,
    SAMPLES,
    SEPARATE_PLANES,
    SIGNED,
    SUBSAMPLING,
    UNDEFINED,
    UNSIGNED,
    WHITE_IS_ZERO,
    YCBCR,
    Tags,
)

_GRAY = (WHITE_IS_ZERO, BLACK_IS_ZERO)
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_NAMES = {WHITE_IS_ZERO: "gray", BLACK_IS_ZERO: "gray", RGB: "RGB", PALETTE: "palette", CMYK: "CMYK", YCBCR: "YCbCr"}
_BITS = {WHITE_IS_ZERO: (1, 2, 4, 8, 16), BLACK_IS_ZERO: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8)}
# The most bands that Pillow passes over, if they follow the others pixel by pixel.
_MOST_EXTRA = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 2}
_MOST_BANDS = 250
# What is known, and not read.
_NOT_READ = {
    **{MASK_PHOTOMETRIC: "mask", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "colour filter array"},
    **{32844: "LogL", 32845: "LogLuv", 34892: "linear raw", 51177: "depth map"},
}
_UNSPECIFIED, _PREMULTIPLIED, _ALPHA = 0, 1, 2
_OPACITY = (_PREMULTIPLIED, _ALPHA)
_CMYK_INKS = 1


class Samples(NamedTuple):
    """What the samples of a file stand for.

    Attributes:
      number: per pixel.
      bits: of each.
      photometric: their photometric interpretation.
      bands: numbers of those that are red, green and blue.
      planes: numbers of the bands that are decoded, if they follow one another; none if all of them are.
      left_out: repairs that name the others.
      opacity: number of the band that is opacity; 0 if none is, or only one behind further bands.
      is_premultiplied: whether the colours are multiplied by the opacity that follows them.
      is_inverted: whether Pillow takes white for black.
      told: tags in the words of decoders; those without values are left out.
    """

    number: int
    bits: int
    photometric: int
    bands: tuple[int, int, int]
    planes: tuple[int, ...]
    left_out: tuple[str, ...]
    opacity: int
    is_premultiplied: bool
    is_inverted: bool
    told: dict[int, tuple[int, ...]]

    @property
    def gray(self) -> bool:
        """Whether they are brightness alone."""
        return self.photometric in _GRAY


def find_range(tags: Tags) -> tuple[int, int] | None:
    """Return the least and the greatest value that a sample can have; None if samples are no whole numbers."""
    kind, bits = tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0], tags.get(BITS, (1,))[0]
    if kind not in (UNSIGNED, SIGNED, UNDEFINED):
        return None
    least = -(1 << (bits - 1)) if kind == SIGNED else 0
    return least, least + (1 << bits) - 1


def read_no_data(directory: Directory) -> float | None:
    """Return the value that stands for no data by GDAL's tag; None if there is none, or no sample can have it."""
    try:
        value = float(directory.texts.get(NO_DATA, b"").strip(b"\0 \n"))
    except ValueError:
        return None
    ends = find_range(directory.tags)
    if ends is None:
        # GDAL writes floating-point numbers with more or fewer digits than samples have.
        with np.errstate(over="ignore"):
            return float(np.float32(value))
    return int(value) if value.is_integer() and ends[0] <= value <= ends[1] else None


def read_samples(directory: Directory) -> Samples:
    """Read what the samples of an image stand for.

    Raises:
      ImageError: it is unknown, not supported, or decoders disagree about it.
    """
    tags = directory.tags
    number = tags.get(SAMPLES, (1,))[0]
    bits = _read_bits(tags, number)
    photometric, bands = _read_colours(directory, number)
    # GDAL counts all bands but the first as extra where it takes none for a colour.
    begin = 2 if photometric == RGB and tags[PHOTOMETRIC] == (BLACK_IS_ZERO,) else 0
    extra = _read_extra(tags, photometric, number, begin)
    _check(tags, photometric, bits, extra)
    is_premultiplied = extra[:1] == (_PREMULTIPLIED,) and photometric != PALETTE
    colours = _COLOURS[photometric]
    needed = colours + 1 if is_premultiplied or (bands and 3 in bands) else colours
    separate = number > 1 and tags.get(PLANES, (1,))[0] == SEPARATE_PLANES
    shown = extra[: needed - colours] if separate else extra
    if len(shown) > _MOST_EXTRA.get(photometric, 0):
        raise UnsupportedImageError(
            f"{number}-band TIFF in {_NAMES[photometric]}: "
            f"{quantity(len(extra), 'band besides the colours is', 'bands besides the colours are')} not supported"
        )
    is_inverted = photometric == WHITE_IS_ZERO and len(shown) > 0
    as_pillow = BLACK_IS_ZERO if is_inverted else photometric
    planes = tuple(range(needed)) if separate else ()
    if separate and is_premultiplied and photometric == BLACK_IS_ZERO:
        # Pillow does not find opacity that follows gray band by band, but it does where gray is red, green and blue.
        as_pillow, planes = RGB, (0, 0, 0, 1)
    # The first extra band is read as opacity, because that is what Pillow reads band by band, too.
    first = _ALPHA if photometric in (*_GRAY, RGB) else _UNSPECIFIED
    told = {
        BITS: (bits,) * number,
        EXTRA: (first, *[_UNSPECIFIED] * (len(shown) - 1)) if shown else (),
        PHOTOMETRIC: (as_pillow,),
        PLANES: (SEPARATE_PLANES if separate else 1,),
        **_corrected(tags, bool(planes)),
    }
    return Samples(
        number,
        bits,
        photometric,
        bands or (0, 1, 2),
        planes,
        _name_left_out(extra),
        colours if extra[:1] and extra[0] in _OPACITY and not (bands and 3 in bands) else 0,
        is_premultiplied,
        is_inverted,
        {tag: values for tag, values in told.items() if tag in tags or tag == EXTRA},
    )


def _corrected(tags: Tags, in_planes: bool) -> dict[int, tuple[int, ...]]:
    """Return tags that Pillow would not take as they are, in its words."""
    corrected: dict[int, tuple[int, ...]] = {}
    if in_planes or set(tags.get(SAMPLE_FORMAT, (UNSIGNED,))) != {UNSIGNED}:
        corrected[SAMPLE_FORMAT] = ()
    if max(tags.get(COLOUR_MAP, (256,))) < 256:
        # Some programs write levels up to 255.
        corrected[COLOUR_MAP] = tuple(level * 257 for level in tags[COLOUR_MAP])
    return corrected


def _read_bits(tags: Tags, number: int) -> int:
    """Return the bits of each sample, or refuse samples whose range is unknown or that Pillow does not read."""
    # Programs write too few or too many values.
    bits = tags.get(BITS, (1,))[: max(1, number)]
    formats = {UNSIGNED if kind == UNDEFINED else kind for kind in tags.get(SAMPLE_FORMAT, (1,))[: max(1, number)]}
    # Of others, the flags say nothing.
    is_raster = tags.get(PHOTOMETRIC, (BLACK_IS_ZERO,))[0] in (BLACK_IS_ZERO, RGB)
    if is_raster and formats | set(bits) == {UNSIGNED, 16} and number > 1:
        raise UntrustedColoursError(
            f"{max(bits)}-bit multi-band TIFF ({quantity(number, 'band')}): the file does not say which bands are red, "
            "green and blue, or how bright white is",
            "give --bands and --stretch LOW:HIGH, or --product",
        )
    if is_raster and formats | set(bits) in ({SIGNED, 16}, {FLOAT, 32}):
        raise UntrustedColoursError(
            f"TIFF with {FORMATS[min(formats)]} samples of {quantity(bits[0], 'bit')}: it is unknown how bright "
            "white is",
            "give --stretch LOW:HIGH" if number == 1 else "give --bands and --stretch LOW:HIGH",
        )
    if formats != {UNSIGNED} or len(set(bits)) != 1 or bits[0] not in (1, 2, 4, 8, 16):
        others = [kind for kind in formats if kind != UNSIGNED]
        raise UnsupportedImageError(
            f"TIFF with {FORMATS.get(others[0] if others else UNSIGNED, 'undefined')} samples of "
            f"{quantity(bits[0], 'bit')}: only unsigned integers of 1, 2, 4, 8 or 16 bits, the same in all bands, are "
            "supported",
            remedy_of(formats) if is_raster else "",
        )
    return bits[0]


def remedy_of(formats: Collection[int]) -> str:
    """Return the remedy for samples that are not supported, by their sample formats; empty if there is none."""
    if not set(formats) <= {UNSIGNED, SIGNED, FLOAT}:
        return ""
    return "convert them, e.g. with gdal_translate -ot Float32"


def _read_colours(directory: Directory, number: int) -> tuple[int, tuple[int, int, int] | None]:
    """Return the photometric interpretation, and numbers of red, green and blue if the bands are named."""
    tags, metadata = directory.tags, directory.texts.get(METADATA, b"")
    if PHOTOMETRIC not in tags:
        raise UntrustedColoursError("TIFF without a photometric interpretation: its colours are unknown")
    [photometric, *_] = tags[PHOTOMETRIC]
    if photometric in _NOT_READ:
        raise UnsupportedImageError(f"TIFF with photometric interpretation {_NOT_READ[photometric]} is not supported")
    if number == 1:
        check_single(metadata)
    if number in (3, 4) and photometric in (RGB, BLACK_IS_ZERO):
        bands = find_colours(metadata, number)
        return RGB if bands else photometric, bands
    if photometric == RGB and find_colours(metadata, number) not in (None, (0, 1, 2)):
        raise UntrustedColoursError(f"{number}-band TIFF whose first three are not named red, green and blue")
    return photometric, None


def _read_extra(tags: Tags, photometric: int, number: int, begin: int) -> tuple[int, ...]:
    """Return what the bands are that follow the colours."""
    kinds = tags.get(EXTRA, ())[begin:]
    extra = number - _COLOURS.get(photometric, number + 1)
    # In RGB and CMYK, the first bands are the colours, whatever follows: near infrared, in aerial images. As gray and
    # something else, GDAL writes any bands.
    is_certain = photometric in (RGB, PALETTE, CMYK) or (extra == 1 and kinds[:1] and kinds[0] in _OPACITY)
    if not 0 <= extra <= _MOST_BANDS or (extra and not is_certain):
        raise UntrustedColoursError(
            f"{number}-band TIFF with photometric interpretation {photometric}: its colours are ambiguous",
            "say which are red, green and blue with --bands" if photometric == BLACK_IS_ZERO and number > 2 else "",
        )
    return (*kinds, *[_UNSPECIFIED] * extra)[:extra]


def _name_left_out(extra: tuple[int, ...]) -> tuple[str, ...]:
    names = ("alpha_dropped" if kind in _OPACITY else "extra_band_dropped" for kind in extra)
    return tuple(sorted(set(names), reverse=True))


def _check(tags: Tags, photometric: int, bits: int, extra: tuple[int, ...]) -> None:
    """Refuse samples that Pillow does not read, or that decoders read differently."""
    name = _NAMES[photometric]
    if bits not in _BITS.get(photometric, (8,)) or (extra and bits != 8):
        more = f" and {quantity(len(extra), 'more band')}" if extra else ""
        raise UnsupportedImageError(f"TIFF in {name}{more} with samples of {quantity(bits, 'bit')} is not supported")
    if photometric == WHITE_IS_ZERO and bits == 16:
        raise UntrustedColoursError("16-bit TIFF in which zero is white: decoders disagree about its polarity")
    if photometric == YCBCR and tags.get(COMPRESSION, (1,))[0] != JPEG and SUBSAMPLING not in tags:
        # It should then be 2 x 2, but some programs forget to say that it is not.
        raise UntrustedColoursError("TIFF in YCbCr that does not say how its colours are subsampled")
    if photometric == CMYK and tags.get(INKS, (_CMYK_INKS,))[0] != _CMYK_INKS:
        raise UntrustedColoursError("TIFF with inks other than cyan, magenta, yellow and black")
    if extra[:1] == (_PREMULTIPLIED,) and photometric in (WHITE_IS_ZERO, CMYK):
        where = "CMYK" if photometric == CMYK else "gray, where zero is white,"
        raise UnsupportedImageError(f"TIFF in {where} multiplied by opacity is not supported")
    levels = len(tags.get(COLOUR_MAP, ()))
    if photometric == PALETTE and levels != 3 << bits:
        raise DamagedImageError(f"damaged TIFF: a colour map of {quantity(levels, 'value')} instead of {3 << bits}")
