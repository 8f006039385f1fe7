"""How a file stores its pixels, and the reasons for which an image is refused."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.errors import ScenetagsError


class ImageError(ScenetagsError):
    """An image that cannot be read, or whose colours cannot be trusted; the class says what kind, the message why."""


class NotAnImageError(ImageError):
    """Data of no known image format."""


class DamagedImageError(ImageError):
    """An image that is truncated, or contradicts itself."""


class UnsupportedImageError(ImageError):
    """A whole image of a kind that is not read."""


class ImageTooLargeError(ImageError):
    """An image that would take more memory or time than an image may: most often of more pixels than are decoded."""


class DecoderTimeoutError(ImageError):
    """An image that was not decoded in the time that it may take."""


class DecoderCrashError(ImageError):
    """An image at which its decoder crashed, or answered nonsense."""


class UntrustedColoursError(ImageError):
    """An image that can be decoded, but not into colours that are certain."""


class Layout(NamedTuple):
    """How a file stores its pixels.

    Attributes:
      format: `jpeg`, `png`, `tiff`, `gif`, `bmp` or `webp`.
      width: columns as stored, before any EXIF rotation.
      height: rows as stored.
      samples: samples a pixel, alpha and other extra samples included.
      bits: bits a sample.
      frames: images in the file, counted up to 2; None where the count is left to the decoder.
      gray: whether luminance is the only colour.
      adobe_transform: the colour transform of a JPEG's Adobe marker (0, 1 or 2); None without that marker.
      component_ids: the identifiers of a JPEG's components.
      scan: the byte at which a JPEG's first scan begins.
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

    @property
    def source(self) -> str:
        """Name the layout as the output's `source` column does, e.g. `jpeg 4x8`."""
        return f"{self.format} {self.samples}x{self.bits}"
