"""Decode an image file to sRGB pixels, repairing what decoders silently get wrong; resize the pixels for a model.

Training and prediction both read images through this module, so a model sees the same pixels in both.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipelines.images.colours import find_holes, to_srgb
from pipelines.images.formats import read_layout
from pipelines.images.head import check_size, judge_head
from pipelines.images.layout import DamagedImageError, ImageError, ImageTooLargeError, Layout
from pipelines.images.limits import HEAD, MAX_PIXELS, SMALL_FILE
from pipelines.images.loading import load_whole, open_image
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.images.resizing import to_square
from pipelines.images.tiff.layout import read_values
from pipelines.images.tiff.rasters import Raster
from pipelines.images.tiff.rendering import Values

Pixels = NDArray[np.uint8]


_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DecodeSettings(NamedTuple):
    """What a model takes, and how large an image may be.

    Attributes:
      image_size: columns and rows of the result.
      resize_filter: one of `RESIZINGS`.
      max_pixels: columns times rows; an image whose header exceeds it is refused.
      rendering: of rasters that are no picture by themselves.
    """

    image_size: int
    resize_filter: str
    max_pixels: int = MAX_PIXELS
    rendering: Rendering = NO_RENDERING


class Decoded(NamedTuple):
    """An image as plain RGB.

    Attributes:
      pixels: uint8[height, width, 3], sRGB, 0 to 255, upright; read-only.
      source: format, samples per pixel and bits per sample of the file, e.g. `jpeg 4x8`.
      repairs: names of the steps from the stored samples to RGB, in the order applied; empty for plain RGB.
    """

    pixels: Pixels
    source: str
    repairs: tuple[str, ...]


class Resized(NamedTuple):
    """An image as plain RGB, at a model's size; the other attributes are as in `Decoded`.

    Attributes:
      width: columns before resizing.
      height: rows before resizing.
      pixels: uint8[size, size, 3], sRGB, 0 to 255, upright; read-only.
    """

    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    pixels: Pixels


class DecodedPart(NamedTuple):
    """A part of a scene as plain RGB; the other attributes are as in `Decoded`.

    Attributes:
      holes: bool[height, width], whether a pixel is known to hold no data.
    """

    pixels: Pixels
    holes: NDArray[np.bool_]
    source: str
    repairs: tuple[str, ...]


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, rendering: Rendering = NO_RENDERING) -> Decoded:
    """Decode an image file to upright sRGB pixels.

    Args:
      data: the whole file: JPEG, JPEG 2000, PNG, TIFF, GIF, BMP or WebP.
      max_pixels: the most pixels (width x height) to decode.
      rendering: of rasters that are no picture by themselves.

    Raises:
      ImageError: the data is not an image, is damaged or larger than `max_pixels`, or its colours cannot be trusted.
    """
    loaded = _load(data, max_pixels, rendering)
    return Decoded(np.asarray(loaded.image), loaded.source, loaded.repairs)


def decode_part(data: bytes, *, max_pixels: int = MAX_PIXELS, rendering: Rendering = NO_RENDERING) -> DecodedPart:
    """Decode a part of a scene, which is a file of its own, and find the pixels that hold no data.

    Those are of the value that the file has for it in all colours, not a number, or transparent. Such pixels are
    mentioned among the repairs nowhere: windows of the part may have none.

    Args:
      data: as for `decode`; so are the others.
      max_pixels: the most pixels (width x height) to decode.
      rendering: of rasters that are no picture by themselves.

    Raises:
      ImageError: as `decode` does.
    """
    image, source, repairs, holes = _load(data, max_pixels, rendering, finds_holes=True)
    assert holes is not None
    return DecodedPart(
        np.asarray(image), holes, source, tuple(repair for repair in repairs if repair != "no_data_kept")
    )


def decode_values(data: bytes, raster: Raster, max_pixels: int) -> Iterator[Values]:
    """Decode the values of the bands of a part of a scene, which is a TIFF of its own.

    Args:
      data: the whole file.
      raster: its bands.
      max_pixels: the most pixels (width x height) to decode.

    Raises:
      ImageError: it is damaged, or too large.
    """
    layout, values = read_values(data, raster)
    check_size(layout.width, layout.height, max_pixels)
    with _as_image_errors(layout):
        yield from values


def decode_resized(data: bytes, settings: DecodeSettings) -> Resized:
    """Decode and resize an image file: the pixels of `decode` and `resize`, without the copies in between.

    Raises:
      ImageError: as `decode` does.
    """
    image, source, repairs, _ = _load(data, settings.max_pixels, settings.rendering)
    pixels = to_square(image, settings.image_size, settings.resize_filter)
    return Resized(image.width, image.height, source, repairs, pixels)


def resize(pixels: Pixels, size: int, resize_filter: str = "bilinear") -> Pixels:
    """Resize an image to a square.

    Args:
      pixels: uint8[height, width, 3].
      size: columns and rows of the result.
      resize_filter: one of `RESIZINGS`.

    Returns:
      uint8[size, size, 3].
    """
    if pixels.shape[:2] == (size, size):
        return pixels
    return to_square(Image.fromarray(pixels), size, resize_filter)


def ignore_metadata_warnings() -> None:
    """Silence Pillow's warnings about damaged metadata, which change no pixel.

    A command calls this once; doing so around each decoding would not be thread-safe.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


class _Loaded(NamedTuple):
    """An upright image of mode RGB, with source and repairs as in `Decoded`, and the pixels without data if wanted."""

    image: Image.Image
    source: str
    repairs: tuple[str, ...]
    holes: NDArray[np.bool_] | None


def _load(data: bytes, max_pixels: int, rendering: Rendering, *, finds_holes: bool = False) -> _Loaded:
    if len(data) > SMALL_FILE:
        # First, because a reader may have judged it before it fetched the rest.
        judge_head(data[:HEAD], max_pixels)
    layout = read_layout(data, rendering)
    check_size(layout.width, layout.height, max_pixels)
    holes = np.zeros((layout.height, layout.width), np.bool_) if finds_holes else None
    with _as_image_errors(layout):
        if layout.render:
            image, colour_repairs = layout.render(data, holes)
            frames = layout.frames or 1
        else:
            image, frames = _load_picture(data, layout, max_pixels)
            if holes is not None:
                find_holes(image, layout, holes)
        repairs = ["first_frame"] if frames > 1 else []
        if layout.orientation != 1:
            image = image.transpose(_TO_UPRIGHT[layout.orientation])
            repairs.append("exif_rotated")
        if not layout.render:
            image, colour_repairs = to_srgb(image, layout)
    return _Loaded(image, layout.source, (*repairs, *colour_repairs), holes)


@contextmanager
def _as_image_errors(layout: Layout) -> Iterator[None]:
    """Take whatever the block raises for a fault of the image.

    Raises:
      ImageError: the block raises anything.
    """
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        # Not only the image's fault: with more memory, it may well be decoded.
        raise ImageTooLargeError(
            f"{layout.width} x {layout.height} pixels do not fit in memory", "run fewer workers per machine"
        ) from error
    except UnidentifiedImageError as error:
        # Its message is a memory address, which would differ from run to run.
        raise DamagedImageError(f"damaged {layout.format.upper()}, or a variant that Pillow cannot read") from error
    except Exception as error:
        # Pillow's plugins raise a dozen types for damaged data, including struct.error and IndexError. Any that got
        # through would stop a whole job because of one file.
        raise DamagedImageError(
            f"cannot be decoded as {layout.format.upper()}: {error or type(error).__name__}"
        ) from error


def _load_picture(data: bytes, layout: Layout, max_pixels: int) -> tuple[Image.Image, int]:
    """Decode a file, and return the image as Pillow sees it and the number of frames."""
    # Pillow reads only what makes pixels: what it would do with the rest can take minutes.
    pixels = layout.to_pixels(data)
    image = open_image(pixels, layout)
    check_size(image.width, image.height, max_pixels)
    frames = layout.frames or (2 if getattr(image, "is_animated", False) else 1)
    load_whole(image, pixels, layout)
    return image, frames
