"""Convert images from the colour space of an embedded ICC profile to sRGB."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageCms

from pipelines.errors import quantity
from pipelines.images.layout import ImageTooLargeError

MOST_PROFILE_BYTES = 16_000_000
"""The largest printer profiles have nine megabytes. Profiles are cached for later images, so larger ones would add up.
"""

# The tags from which conversions to sRGB are made: tables, curves, primaries and white. The library need not see the
# others. Above all, a floating-point pipeline (D2B0) of 33 KB can have thousands of stages, which take half a minute;
# a profile that has one has tables or curves as well (ICC.1:2022, section 9.1).
_CONVERSION = frozenset((b"A2B0", b"A2B1", b"A2B2", b"wtpt", b"bkpt", b"chad")) | {
    colour + kind for colour in (b"r", b"g", b"b", b"k") for kind in (b"XYZ", b"TRC")
}
# The library's own limit.
_MOST_TAGS = 100
# White, red, green and blue: x and y of each.
_SRGB_PLACES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# What changes no colour by more than four levels.
_SAME_PLACE, _SAME_EXPONENT = 0.01, 0.04
# A difference of one level is rounding; a profile that changes no colour by more is sRGB itself.
_SRGB_TOLERANCE = 1


def apply_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """Convert an image from the colour space of its profile to sRGB.

    A profile that is damaged, or made for other colours than the image has, is ignored: the image is then in the space
    that its format presumes.

    Args:
      image: of mode L, RGB or CMYK.
      profile: as in `Layout`.

    Returns:
      The image, and the name of the repair; None if the profile is sRGB itself.

    Raises:
      ImageTooLargeError: the profile is larger than any printer's.
    """
    if len(profile) > MOST_PROFILE_BYTES:
        raise ImageTooLargeError(
            f"ICC profile of {quantity(len(profile), 'byte')}: the limit is {MOST_PROFILE_BYTES:,}"
        )
    try:
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(colour_space(profile))
        fitting = image.convert("RGB") if image.mode == "L" and mode == "RGB" else image
        if fitting.mode != mode:
            return image, "icc_ignored"
        transform = _srgb_transform(_without_other_tags(profile), mode)
    except (ImageCms.PyCMSError, OSError, struct.error):
        return image, "icc_ignored"
    return (ImageCms.applyTransform(fitting, transform) or fitting, "icc_to_srgb") if transform else (fitting, None)


def _without_other_tags(profile: bytes) -> bytes:
    """Leave out of a profile's table all tags on which no conversion to sRGB depends; ICC.1:2022, section 7.3."""
    (number,) = struct.unpack_from(">I", profile, 128)
    entries = [profile[at : at + 12] for at in range(132, 132 + 12 * min(number, _MOST_TAGS), 12)]
    kept = [entry for entry in entries if entry[:4] in _CONVERSION]
    table = struct.pack(">I", len(kept)) + b"".join(kept)
    return profile[:128] + table + profile[128 + len(table) :]


def colour_space(profile: bytes) -> str:
    """Name the colour space of a profile as ICC does, e.g. `RGB` or `CMYK`; ICC.1:2022, section 7.2.6."""
    return profile[16:20].decode("latin-1").strip() if profile[36:40] == b"acsp" else ""


def is_like_srgb(gamma: float | None, places: Sequence[float] | None) -> bool:
    """Return whether a colour space that a file states by numbers is sRGB but for a few levels.

    Args:
      gamma: exponent by which samples were made from light, about 1 / 2.2 in sRGB; None if not stated.
      places: x and y of white, red, green and blue, or of the last three; None if not stated.
    """
    same_gamma = gamma is None or abs(1 / (2.2 * gamma) - 1) <= _SAME_EXPONENT
    pairs = zip(places or (), _SRGB_PLACES[-len(places or ()) :], strict=False)
    return same_gamma and all(abs(place - srgb) <= _SAME_PLACE for place, srgb in pairs)


@lru_cache(maxsize=16)
def _srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the conversion from a profile to sRGB; None if the profile is sRGB itself."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), mode, "RGB"
    )
    if mode == "CMYK":
        return transform
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    colours = Image.fromarray(lattice if mode == "RGB" else lattice[..., 0])
    converted = ImageCms.applyTransform(colours, transform) or colours
    changes = ImageChops.difference(converted, colours.convert("RGB"))
    return None if np.asarray(changes).max() <= _SRGB_TOLERANCE else transform
