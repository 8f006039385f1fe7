"""Decode an image file to sRGB pixels, repairing what decoders get silently wrong; resize the pixels for a model.

Training and prediction both read images through this module, so that a model sees the same pixels in both.
"""

from __future__ import annotations

import io
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageOps, UnidentifiedImageError

from pipelines.formats import read_layout
from pipelines.layout import DamagedImageError, ImageTooLargeError, Layout, UntrustedColoursError
from pipelines.layout import ImageError as ImageError
from pipelines.profiles import apply_profile, colour_space

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
# Pixels that are compared or scaled at a time: to do so with a whole image would take several times its memory.
_STRIP_PIXELS = 4_000_000


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
        if layout.format == "jpeg":
            _load_complete(image, data, layout)
        image.load()
        repairs = ["first_frame"] if frames > 1 else []
        if orientation in range(2, 9):
            image = ImageOps.exif_transpose(image)
            repairs.append("exif_rotated")
        image, colour_repairs = _to_srgb(image, layout)
    except ImageError:
        raise
    except MemoryError as error:
        # Not the image's fault, or not alone: where there is more memory, it may well be decoded.
        raise ImageTooLargeError(
            f"{layout.width} x {layout.height} pixels: more than there is memory for; run fewer workers on a machine"
        ) from error
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


def _load_complete(image: Image.Image, data: bytes, layout: Layout) -> None:
    """Decode a JPEG, and refuse it if its pixels end too early although its end is marked.

    Decoding it once more with further data in front of the end marker gives the same pixels for a complete image, and
    others for an incomplete one. That is worth its time only where the image ends in the filling or was sent in passes.
    """
    # Passes are kept in memory until the last one, so the two decodings must not be held at once.
    lengthened = _lengthened_checksum(data, layout) if image.info.get("progressive") else None
    image.load()
    if not image.info.get("progressive"):
        last = image.getpixel((image.width - 1, image.height - 1))
        if not _FILLING.issuperset(last if isinstance(last, tuple) else (last,)):
            return
        lengthened = _lengthened_checksum(data, layout)
    if lengthened is None or lengthened != _checksum(image):
        raise DamagedImageError("truncated JPEG: its pixels end before the image does")


def _lengthened_checksum(data: bytes, layout: Layout) -> int | None:
    """Decode a JPEG with further data at its end; a checksum of the pixels, None where it cannot be decoded."""
    end, view = data.find(b"\xff\xd9", layout.scan), memoryview(data)
    longer = io.BytesIO(b"".join((view[:end], _MORE_DATA, view[end:])))
    try:
        with Image.open(longer, formats=("jpeg",)) as image:
            return _checksum(image)
    except OSError:
        return None


def _checksum(image: Image.Image) -> int:
    checksum, rows = 0, max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        checksum = zlib.crc32(strip.tobytes(), checksum)
    return checksum


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
        image, converted = apply_profile(image, profile)
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
    is_mask = _is_mask(image)
    says_cmyk = layout.component_ids == b"CMYK"
    if (profile and colour_space(profile) == "CMYK") or (says_cmyk and not is_mask):
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


def _is_mask(image: Image.Image) -> bool:
    """Tell whether the fourth component is an opacity of 0 or 255 and the first three are a picture under it.

    Args:
      image: Pillow's decoding, in which every component is inverted.
    """
    fourth = image.getchannel("K")
    counts = fourth.histogram()
    opaque, empty = sum(counts[: _RINGING + 1]), sum(counts[255 - _RINGING :])
    if not opaque or opaque + empty < _MASK_SHARE * image.width * image.height:
        return False
    # Histograms take no memory to speak of, where a standard deviation of the pixels takes 24 bytes of each.
    shown = np.reshape(image.histogram(fourth.point([255] * (_RINGING + 1) + [0] * (255 - _RINGING))), (4, 256))[:3]
    levels = np.arange(256)
    means = shown @ levels / opaque
    variances = (shown * (levels - means[:, None]) ** 2).sum(axis=1) / opaque
    return bool(np.sqrt(variances).max() > _PICTURE_SPREAD)


def _scale_depth(image: Image.Image) -> Image.Image:
    """Scale 16-bit samples to 8 bits; Pillow's own conversion of 16-bit gray clips at 255 instead."""
    if not image.mode.startswith("I;16"):
        # Pillow has scaled 16-bit colour already, by taking the high byte.
        return image
    samples = np.asarray(image)
    scaled = np.empty(samples.shape, np.uint8)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        # The rounding of libpng's png_set_scale_16: exact division by 257.
        scaled[top : top + rows] = (samples[top : top + rows].astype(np.uint32) * 255 + 32895) >> 16
    return Image.fromarray(scaled)
