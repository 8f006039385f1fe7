"""Decode an image file to sRGB pixels, repairing what decoders get silently wrong; resize the pixels for a model.

Training and prediction both read images through this module, so that a model sees the same pixels in both.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageOps, UnidentifiedImageError

from pipelines.formats import read_layout
from pipelines.layout import DamagedImageError, ImageTooLargeError, Layout, UntrustedColoursError
from pipelines.layout import ImageError as ImageError

Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Pixels of the largest image that is decoded; 64 million take 256 MB as four 8-bit samples."""

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".gif", ".bmp", ".webp")
"""Endings of names, in lower case, by which the files of a folder are taken for images."""

RESIZE_FILTERS = ("box", "bilinear", "hamming", "bicubic", "lanczos")
"""Filters by which `resize` can make an image smaller; all of them average over the area that a pixel stands for."""

# JPEG rings at the edges of a mask: it stores values beside 0 and 255 there, on a few pixels.
_RINGING = 32
_MASK_SHARE = 0.98
# Spread, in levels, of the three other components where a fourth one is at its maximum. Read as CMYK such pixels
# are solid black: a picture under them would be one that nobody can see.
_PICTURE_SPREAD = 8.0
# libjpeg fills what is missing at the end of a JPEG with this gray (127 where Pillow inverts), and says nothing.
_FILLING = frozenset((127, 128))
_MORE_DATA = b"\x55\xaa" * 64
# Colours that differ by one level are rounding; a profile that changes no colour by more is sRGB itself.
_SRGB_TOLERANCE = 1


class Decoded(NamedTuple):
    """An image as plain RGB.

    Attributes:
      pixels: uint8[height, width, 3], sRGB, 0 to 255, upright; read-only.
      source: format, samples a pixel and bits a sample of the file, e.g. `jpeg 4x8`.
      repairs: names of what was done to get from the stored samples to RGB, in the order applied; empty for plain RGB.
    """

    pixels: Pixels
    source: str
    repairs: tuple[str, ...]


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode an image file to upright sRGB pixels.

    Args:
      data: the whole file: JPEG, PNG, TIFF, GIF, BMP or WebP.
      max_pixels: the most pixels (width x height) that are decoded.

    Raises:
      ImageError: the data is no image, is damaged or larger than `max_pixels`, or its colours cannot be trusted.
    """
    layout = read_layout(data)
    _check_size(layout.width, layout.height, max_pixels)
    try:
        # Pillow is told the format: its own guess could name another one than the layout was read for.
        image: Image.Image = Image.open(io.BytesIO(data), formats=(layout.format,))
        _check_size(image.width, image.height, max_pixels)
        frames = layout.frames or (2 if getattr(image, "is_animated", False) else 1)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        image.load()
        if layout.format == "jpeg":
            _check_complete(image, data, layout)
        repairs = ["first_frame"] if frames > 1 else []
        if orientation in range(2, 9):
            image = ImageOps.exif_transpose(image)
            repairs.append("exif_rotated")
        image, colour_repairs = _to_srgb(image, layout)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        # Its message is an address in memory, which would differ from run to run.
        raise DamagedImageError(f"no {layout.format.upper()} of a kind that Pillow reads, or damaged") from error
    except Exception as error:
        # Pillow's plugins raise a dozen types for damaged data, struct.error and IndexError among them. Any of them,
        # let through, would stop a whole job for the sake of one file.
        raise DamagedImageError(
            f"cannot be decoded as {layout.format.upper()}: {error or type(error).__name__}"
        ) from error
    return Decoded(np.asarray(image), layout.source, (*repairs, *colour_repairs))


def resize(pixels: Pixels, size: int, resize_filter: str = "bilinear") -> Pixels:
    """Resize an image to a square, without regard to its aspect ratio.

    Args:
      pixels: uint8[height, width, 3].
      size: columns and rows of the result.
      resize_filter: one of `RESIZE_FILTERS`.

    Returns:
      uint8[size, size, 3].
    """
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling[resize_filter.upper()]))


def ignore_metadata_warnings() -> None:
    """Silence Pillow's warnings of damaged metadata, which change no pixel.

    For a command to call once: to do so around each decoding would not be safe among threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise DamagedImageError(f"{width} x {height} pixels: no pixels at all")
    if width * height > max_pixels:
        raise ImageTooLargeError(f"{width} x {height} pixels: more than the {max_pixels:,} that are decoded")


def _check_complete(image: Image.Image, data: bytes, layout: Layout) -> None:
    """Refuse a JPEG whose pixels end too early, although its end is marked.

    Decoding it once more with further data in front of the end marker gives the same pixels for a complete image, and
    others for an incomplete one. That is worth its time only where the image ends in the filling or was sent in passes.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    if not image.info.get("progressive") and not _FILLING.issuperset(last if isinstance(last, tuple) else (last,)):
        return
    end = data.find(b"\xff\xd9", layout.scan)
    longer = io.BytesIO(data[:end] + _MORE_DATA + data[end:])
    try:
        complete = ImageChops.difference(image, Image.open(longer, formats=("jpeg",))).getbbox() is None
    except OSError:
        complete = False
    if not complete:
        raise DamagedImageError("truncated JPEG: its pixels end before the image does")


def _to_srgb(image: Image.Image, layout: Layout) -> tuple[Image.Image, list[str]]:
    """Turn decoded samples of any layout into an sRGB image, and name each step."""
    repairs: list[str] = []
    profile = image.info.get("icc_profile")
    transparent = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    if layout.format == "jpeg" and layout.samples == 4:
        image, repairs = _read_four_components(image, layout, profile)
    elif image.mode == "CMYK":
        repairs.append("cmyk")
    if layout.bits == 16:
        image = _scale_depth(image)
        repairs.append("depth_scaled")
    if image.mode in ("P", "PA"):
        repairs.append("palette")
    gray = layout.gray or image.mode in ("1", "L", "LA", "La")
    if gray:
        repairs.append("grayscale")
    if transparent:
        repairs.append("alpha_dropped")
    if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK"):
        raise UntrustedColoursError(
            f"{layout.format.upper()} of Pillow mode {image.mode}, which has no certain colours"
        )
    if image.mode != "CMYK":
        # A palette with more than one transparent colour would make Pillow warn.
        image.info.pop("transparency", None)
        image = _in_mode(image, "L" if gray else "RGB")
    if profile:
        image, converted = _apply_profile(image, profile)
        repairs += ["icc_to_srgb"] if converted else []
    return _in_mode(image, "RGB"), repairs


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image to a mode, without the copy that Pillow makes of one that has it already."""
    return image if image.mode == mode else image.convert(mode)


def _read_four_components(image: Image.Image, layout: Layout, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """Tell what the components of a 4-component JPEG are.

    With an Adobe marker they are inverted CMYK, or YCCK, which the decoder has turned into inverted CMYK (ITU-T T.872,
    section 6.5.3). Without one, nothing but their values tells RGB with a fourth component from CMYK. Pillow takes
    both for inverted CMYK, and TensorFlow's decoder turns the former into black.

    Args:
      image: Pillow's decoding, mode CMYK, in which every component is inverted.
      layout: of the same file.
      profile: the embedded ICC profile.

    Returns:
      An image of mode RGB or CMYK (255 is full ink), and the repairs.
    """
    if layout.adobe_transform is not None:
        if layout.adobe_transform not in (0, 2):
            raise UntrustedColoursError(f"4-component JPEG with unknown Adobe transform {layout.adobe_transform}")
        return image, ["ycck" if layout.adobe_transform == 2 else "cmyk_inverted"]
    if image.getchannel("K").getextrema() == (0, 0):
        return _drop_fourth(ImageChops.invert(image)), ["unmarked_rgba_jpeg"]
    is_mask = _is_mask(255 - np.asarray(image))
    says_cmyk = layout.component_ids == b"CMYK"
    if (profile and _colour_space(profile) == "CMYK") or (says_cmyk and not is_mask):
        return ImageChops.invert(image), ["cmyk"]
    if is_mask and not says_cmyk:
        return _drop_fourth(ImageChops.invert(image)), ["unmarked_rgba_jpeg", "alpha_dropped"]
    raise UntrustedColoursError(
        "4-component JPEG without Adobe marker whose fourth component may be black ink, opacity or another band"
    )


def _drop_fourth(image: Image.Image) -> Image.Image:
    """Take the first three components of four for red, green and blue."""
    # Half the time of Pillow's conversion from CMYK, which multiplies each of them by the fourth.
    return Image.frombytes("RGB", image.size, image.tobytes(), "raw", "RGBX")


def _is_mask(stored: Pixels) -> bool:
    """Tell whether the fourth component is an opacity of 0 or 255 and the first three are a picture under it."""
    fourth = stored[..., 3]
    opaque = fourth >= 255 - _RINGING
    if not opaque.any() or np.mean(opaque | (fourth <= _RINGING)) < _MASK_SHARE:
        return False
    return bool(stored[opaque][:, :3].std(axis=0).max() > _PICTURE_SPREAD)


def _scale_depth(image: Image.Image) -> Image.Image:
    """Scale 16-bit samples to 8 bits; Pillow's own conversion of 16-bit gray clips at 255 instead."""
    if not image.mode.startswith("I;16"):
        # Pillow has scaled 16-bit colour already, by taking the high byte.
        return image
    # The rounding of libpng's png_set_scale_16: exact division by 257.
    return Image.fromarray(((np.asarray(image).astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8))


def _apply_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, bool]:
    """Convert an image from the colour space of its profile to sRGB, and tell whether that changed anything."""
    mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(_colour_space(profile))
    if image.mode == "L" and mode == "RGB":
        image = image.convert("RGB")
    if image.mode != mode:
        raise UntrustedColoursError(f"{image.mode} image with an ICC profile for {_colour_space(profile) or 'nothing'}")
    transform = _srgb_transform(profile, mode)
    return (ImageCms.applyTransform(image, transform) or image, True) if transform else (image, False)


@lru_cache(maxsize=16)
def _colour_space(profile: bytes) -> str:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()


@lru_cache(maxsize=16)
def _srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the conversion from a profile to sRGB; None when the profile is sRGB itself."""
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
