"""What flows through the pipeline."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Span(NamedTuple):
    """Where in an archive a member lies.

    Attributes:
      archive: path of the archive.
      start: byte at which it begins; of a compressed tar, in what it is uncompressed.
      length: bytes that it takes there.
      packing: how it lies there; see `archives`.
      checksum: CRC-32 of its content, where the archive has one.
    """

    archive: str
    start: int
    length: int
    packing: str
    checksum: int = 0


class ImageRef(NamedTuple):
    """An image that is known by name only.

    Attributes:
      path: where its bytes are.
      size: in bytes.
      fingerprint: changes when the bytes do; made from what a listing tells, without reading them.
      place: where in an archive it lies; None where it is a file of its own.
    """

    path: str
    size: int
    fingerprint: str
    place: Span | None = None


class Image(NamedTuple):
    """A decoded image, resized for the model.

    Attributes:
      ref: the image's file.
      width: columns of the decoded image, before resizing.
      height: rows of the decoded image, before resizing.
      source: format, samples a pixel and bits a sample of the file.
      repairs: what was done to get true colours, in the order applied.
      pixels: uint8[S, S, 3], sRGB, 0 to 255.
    """

    ref: ImageRef
    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    pixels: NDArray[np.uint8]


class Prediction(NamedTuple):
    """What the model says about an image; like `Image`, with the probabilities in place of the pixels.

    Attributes:
      probabilities: float32[L], 0 to 1, in the order of the bundle's labels.
    """

    ref: ImageRef
    width: int
    height: int
    source: str
    repairs: tuple[str, ...]
    probabilities: NDArray[np.float32]


class Failure(NamedTuple):
    """An input that could not be tagged.

    Attributes:
      path: of the input.
      stage: where it failed: `list`, `read`, `decode` or `predict`.
      error: the kind of error, a Python exception's name.
      message: the reason, for people.
      fingerprint: of the image; empty where listing failed.
    """

    path: str
    stage: str
    error: str
    message: str
    fingerprint: str


Listed = ImageRef | Failure
"""What a listing yields: an image, or a name that cannot be one."""


def not_listed(path: str, error: Exception, fingerprint: str = "", message: str = "") -> Failure:
    """Say why a name cannot be an image.

    Args:
      path: that was named.
      error: whose kind and message are told.
      fingerprint: of what is known of the file.
      message: in place of the error's own.
    """
    reason = message or (error.strerror if isinstance(error, OSError) else None) or str(error)
    # Names that are not UTF-8 cannot be written as they are.
    name = path.encode("utf-8", "backslashreplace").decode()
    return Failure(name, "list", type(error).__name__, reason, fingerprint)
