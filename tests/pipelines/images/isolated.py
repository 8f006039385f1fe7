"""Images decoded in this process, to compare with those that a child decodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.images import DecodeSettings, ImageError, Resized, decode_resized
from tests.image_files import picture, unmarked_rgba_jpeg

SETTINGS = DecodeSettings(32, "bilinear", 1_000_000)
CHIP = unmarked_rgba_jpeg(picture())


def decoded(decode: Callable[[bytes], Resized], data: bytes) -> Resized | tuple[str, str]:
    """Decode a file, or give the kind of its error and the reason."""
    try:
        return decode(data)
    except ImageError as error:
        return type(error).__name__, str(error)


def here(data: bytes) -> Resized:
    return decode_resized(data, SETTINGS)


def assert_same(one: Resized | tuple[str, str], other: Resized | tuple[str, str]) -> None:
    if not isinstance(one, Resized) or not isinstance(other, Resized):
        assert one == other
        return
    assert one[:4] == other[:4]
    assert one.pixels.dtype == other.pixels.dtype
    assert np.array_equal(one.pixels, other.pixels)
