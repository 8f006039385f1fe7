"""How a file stores its pixels, and the reasons why an image is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import ScenetagsError

if TYPE_CHECKING:
    # `--help` must not load Pillow.
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Holes = NDArray[np.bool_]
    """bool[height, width], whether a pixel is known to hold no data."""


class ImageError(ScenetagsError):
    """An image that cannot be read or whose colours cannot be trusted; the class is the kind, the message the cause."""


class NotAnImageError(ImageError):
    """Data that is not in a known image format."""


class DamagedImageError(ImageError):
    """An image that is truncated or contradicts itself."""


class UnsupportedImageError(ImageError):
    """An intact image in a variant that is not supported."""


class ImageTooLargeError(ImageError):
    """An image that would take too much memory or time, usually because it has too many pixels."""


class DecoderTimeoutError(ImageError):
    """An image that was not decoded within the time limit."""


class DecoderCrashError(ImageError):
    """An image whose decoder crashed or sent an invalid answer."""


class UntrustedColoursError(ImageError):
    """An image that can be decoded, but whose colours are ambiguous."""


DAMAGED_PROFILE = b""
"""Stands for an ICC profile that is there but not whole."""


class JpegPiece(NamedTuple):
    """A strip or tile of a TIFF that is a JPEG.

    Attributes:
      jpeg: a whole file.
      ends: column and row of pixels of the TIFF of which one is gray if data is missing; none if no pixel can tell.
      band: the only one of the TIFF that the JPEG holds, from 0; None if it holds all.
    """

    jpeg: bytes
    ends: Sequence[tuple[int, int]]
    band: int | None


def _without_jpegs(_: bytes) -> Iterable[JpegPiece]:
    return ()


class Layout(NamedTuple):
    """How a file stores its pixels.

    Attributes:
      format: `jpeg`, `jpeg2000`, `png`, `tiff`, `gif`, `bmp` or `webp`.
      width: columns as stored, before any EXIF rotation.
      height: rows as stored.
      samples: samples per pixel, including alpha and other extra samples.
      bits: bits per sample.
      frames: images in the file, counted up to 2; None if the decoder must count.
      gray: whether luminance is the only colour.
      adobe_transform: the colour transform of a JPEG's Adobe marker (0, 1 or 2); None without that marker.
      component_ids: identifiers of a JPEG's components.
      scan: byte at which a JPEG's first scan begins.
      in_one_scan: whether that scan of a JPEG holds the whole picture.
      arithmetic: whether the code of a JPEG is arithmetic.
      bands: numbers of the bands that are red, green and blue, from 0.
      left_out: repairs that name bands besides the colours, and masks; None if the decoder must look for opacity.
      opacity: number of the band of a TIFF that is opacity, from 0; 0 if none is, or only one behind further bands.
      is_premultiplied: whether colours are multiplied by the opacity that is decoded with them.
      is_inverted: whether the brightest decoded gray is black.
      no_data: value of decoded samples that stands for no data; None if none does.
      has_opacity: whether pixels can be transparent although Pillow does not say so.
      scaled_from: bits that samples had before they were scaled to as many as they have; 0 if the file does not say.
      orientation: how to turn the picture upright, as EXIF numbers it, 1 to 8.
      palette: red, green and blue of each of 256 values, where Pillow decodes a palette's indices as if they were gray;
        None if it does not.
      profile: the embedded ICC profile; `DAMAGED_PROFILE` if it is not whole, None if there is none.
      ignores_space: whether the file states, other than by a profile, that its colours are not in sRGB.
      ends: yields column and row of pixels of a JPEG in one scan of which one is gray if data is missing; none if none
        need be.
      to_pixels: turns the file into one that holds its pixels and nothing else, in which `scan` is a place; raises an
        `ImageError` if some of the pixels are missing.
      render: makes a picture of the bands of a raster and names what it did; given an array, it notes there which
        pixels hold no data. Raises an `ImageError` if some of the pixels are missing. None for a file that is a picture
        by itself.
      read_jpegs: yields each strip or tile of a TIFF that is a JPEG.
    """

    format: str
    width: int
    height: int
    samples: int = 3
    bits: int = 8
    frames: int | None = None
    gray: bool = False
    adobe_transform: int | None = None
    component_ids: bytes = b""
    scan: int = 0
    in_one_scan: bool = True
    arithmetic: bool = False
    bands: tuple[int, int, int] = (0, 1, 2)
    left_out: tuple[str, ...] | None = None
    opacity: int = 0
    is_premultiplied: bool = False
    is_inverted: bool = False
    no_data: int | None = None
    has_opacity: bool = False
    scaled_from: int = 0
    orientation: int = 1
    palette: bytes | None = None
    profile: bytes | None = None
    ignores_space: bool = False
    to_pixels: Callable[[bytes], bytes] = bytes
    ends: Callable[[], Iterable[tuple[int, int]]] = tuple
    render: Callable[[bytes, Holes | None], tuple[Image, list[str]]] | None = None
    read_jpegs: Callable[[bytes], Iterable[JpegPiece]] = _without_jpegs

    @property
    def source(self) -> str:
        """Name the layout as the output's `source` column does, e.g. `jpeg 4x8`."""
        return f"{self.format} {self.samples}x{self.bits}"
