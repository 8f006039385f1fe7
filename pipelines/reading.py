"""Read one image for a model: fetch, decode, repair, resize."""

from __future__ import annotations

from pipelines import storage
from pipelines.images import ImageError, decode, resize
from pipelines.records import Failure, Image, ImageRef


def read_image(ref: ImageRef, image_size: int, resize_filter: str) -> Image | Failure:
    """Read an image, or say why that cannot be done.

    Args:
      ref: the image's file.
      image_size: columns and rows of the result.
      resize_filter: one of `images.RESIZE_FILTERS`.

    Returns:
      An `Image`, or a `Failure` of the stage `read` or `decode`.
    """
    try:
        data = storage.read(ref.path)
    except OSError as error:
        return Failure(ref.path, "read", type(error).__name__, error.strerror or str(error), ref.fingerprint)
    try:
        decoded = decode(data)
    except ImageError as error:
        return Failure(ref.path, "decode", type(error).__name__, str(error), ref.fingerprint)
    height, width = decoded.pixels.shape[:2]
    pixels = resize(decoded.pixels, image_size, resize_filter)
    return Image(ref, width, height, decoded.source, decoded.repairs, pixels)
