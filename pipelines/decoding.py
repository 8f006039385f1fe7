"""Decode an image for a model: from the bytes of a file to pixels of the model's size, or to a reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipelines import images
from pipelines.images import MAX_PIXELS, ImageError, Resized


class DecodeSettings(NamedTuple):
    """What a model takes, and what an image may cost.

    Attributes:
      image_size: columns and rows of the result.
      resize_filter: one of `images.RESIZE_FILTERS`.
      max_pixels: columns times rows above which an image is refused by its header.
    """

    image_size: int
    resize_filter: str
    max_pixels: int = MAX_PIXELS


class Refusal(NamedTuple):
    """The reason why an image was not decoded: the kind of error, and a message for people."""

    error: str
    message: str


Decode = Callable[[bytes], Resized | Refusal]


def decode_resized(data: bytes, settings: DecodeSettings) -> Resized | Refusal:
    """Decode a file and bring it to a model's size, or say why not."""
    try:
        return images.decode_resized(data, settings.image_size, settings.resize_filter, max_pixels=settings.max_pixels)
    except ImageError as error:
        return Refusal(type(error).__name__, str(error))
