"""Convert images from the colour space of an embedded ICC profile to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageCms

from pipelines.images.layout import ImageTooLargeError, UntrustedColoursError

# The largest printer profiles have a few megabytes. Profiles are cached for later images, so larger ones would add up.
_MOST_PROFILE_BYTES = 8_000_000
# A difference of one level is rounding; a profile that changes no colour by more is sRGB itself.
_SRGB_TOLERANCE = 1


def apply_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, bool]:
    """Convert an image from the colour space of its profile to sRGB; return it and whether it was converted."""
    if len(profile) > _MOST_PROFILE_BYTES:
        raise ImageTooLargeError(f"ICC profile of {len(profile):,} bytes: the limit is {_MOST_PROFILE_BYTES:,}")
    mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(colour_space(profile))
    if image.mode == "L" and mode == "RGB":
        image = image.convert("RGB")
    if image.mode != mode:
        space = colour_space(profile) or "an unknown colour space"
        raise UntrustedColoursError(f"{image.mode} image with an ICC profile for {space}")
    transform = _srgb_transform(profile, mode)
    return (ImageCms.applyTransform(image, transform) or image, True) if transform else (image, False)


@lru_cache(maxsize=16)
def colour_space(profile: bytes) -> str:
    """Name the colour space of a profile as ICC does, e.g. `RGB` or `CMYK`."""
    return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()


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
