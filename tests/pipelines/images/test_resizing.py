"""Resizing is Pillow's own, whatever the order of decoding and resizing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipelines.images import DecodeSettings, decode, decode_resized, resize
from pipelines.images.limits import RESIZE_FILTERS
from tests import image_files as files
from tests.pipelines.images.decoding import GRAY, RGB, assert_close


@pytest.mark.parametrize("resize_filter", RESIZE_FILTERS)
@pytest.mark.parametrize("size", [1, 17, 64])
def test_resize_is_pillows_own(resize_filter: str, size: int) -> None:
    pixels = files.picture(48, 80)
    resized = resize(pixels, size, resize_filter)
    expected = Image.fromarray(pixels).resize((size, size), Image.Resampling[resize_filter.upper()])
    assert_close(resized, np.asarray(expected))
    assert resized.shape == (size, size, 3)


@pytest.mark.parametrize("resize_filter", RESIZE_FILTERS)
@pytest.mark.parametrize(
    "data",
    [
        files.unmarked_rgba_jpeg(RGB),
        files.encode(RGB, "png"),
        files.encode(GRAY, "tiff"),
        files.encode(files.picture(40, 40), "jpeg"),
    ],
)
def test_decoding_at_a_size_gives_the_pixels_of_decoding_and_resizing(data: bytes, resize_filter: str) -> None:
    decoded = decode(data)
    height, width = decoded.pixels.shape[:2]

    resized = decode_resized(data, DecodeSettings(40, resize_filter))

    assert_close(resized.pixels, resize(decoded.pixels, 40, resize_filter))
    assert resized[:4] == (width, height, decoded.source, decoded.repairs)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    pixels = files.picture(32, 32)
    assert resize(pixels, 32, "lanczos") is pixels


def test_making_an_image_smaller_averages_over_its_area() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for resize_filter in RESIZE_FILTERS:
        assert_close(resize(stripes, 8, resize_filter), np.full((8, 8, 3), 127.5), 12)


def test_an_unknown_filter_is_an_error() -> None:
    with pytest.raises(KeyError):
        resize(files.picture(), 8, "nearer")
