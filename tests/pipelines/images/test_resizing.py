"""Filters are Pillow's own but for one, which gives the same pixels on every machine."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipelines.images import DecodeSettings, ImageError, decode, decode_resized, resize, resizing
from pipelines.images.limits import RESIZE_FILTERS
from tests import image_files as files
from tests.pipelines.images.decoding import GRAY, RGB, assert_close

PILLOWS = tuple(name for name in RESIZE_FILTERS if name != "bilinear16")
SIDES = st.integers(1, 70) | st.sampled_from([128, 224, 256, 300])


@pytest.fixture
def anew() -> Any:
    """Have the program for `bilinear16` chosen again, by the test and after it."""
    resizing._fastest.cache_clear()
    yield
    resizing._fastest.cache_clear()


@pytest.mark.parametrize("resize_filter", PILLOWS)
@pytest.mark.parametrize("size", [1, 17, 64])
def test_resize_is_pillows_own(resize_filter: str, size: int) -> None:
    pixels = files.picture(48, 80)
    resized = resize(pixels, size, resize_filter)
    assert_close(resized, by_pillow(pixels, size, resize_filter))
    assert resized.shape == (size, size, 3)


@pytest.mark.parametrize("resize_filter", RESIZE_FILTERS)
@pytest.mark.parametrize(("width", "height"), [(90, 40), (40, 90), (1200, 500), (40, 40), (300, 1)])
def test_images_are_fitted_into_a_square_in_proportion(resize_filter: str, width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    side, left, upper = min(width, height), (width - min(width, height)) // 2, (height - min(width, height)) // 2
    middle = np.ascontiguousarray(pixels[upper : upper + side, left : left + side])
    np.testing.assert_array_equal(resize(pixels, 32, f"{resize_filter}+crop"), resize(middle, 32, resize_filter))

    padded = resize(pixels, 32, f"{resize_filter}+pad")
    columns, rows = (max(1, round(32 * length / max(width, height))) for length in (width, height))
    left, upper = (32 - columns) // 2, (32 - rows) // 2
    inside = np.zeros((32, 32), bool)
    inside[upper : upper + rows, left : left + columns] = True
    assert (padded[~inside] == 127).all()
    whole = Image.fromarray(pixels).resize((columns, rows), Image.Resampling[resize_filter.strip("16").upper()])
    assert_close(padded[inside].reshape(rows, columns, 3), np.asarray(whole), 1)


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


def test_real_chips_are_resized_as_ever(planet: Path) -> None:
    for chip in sorted(planet.glob("jpg/*.jpg")):
        stored = np.asarray(Image.open(chip))[..., :3]  # Pillow inverts the components twice.
        resized = decode_resized(chip.read_bytes(), DecodeSettings(224, "bilinear")).pixels
        assert_close(resized, by_pillow(255 - stored, 224, "bilinear"))
        resized = decode_resized(chip.read_bytes(), DecodeSettings(224, "bilinear16")).pixels
        assert_close(resized, by_numpy(255 - stored, 224))
        assert_close(resized, by_pillow(255 - stored, 224, "bilinear"), 2)


@given(height=SIDES, width=SIDES, size=st.integers(1, 70) | st.sampled_from([192, 224]), seed=st.integers(0, 99))
@example(height=256, width=256, size=224, seed=0)
@example(height=1, width=2000, size=224, seed=0)
@example(height=2000, width=1, size=224, seed=0)
def test_every_processor_gives_the_same_pixels(height: int, width: int, size: int, seed: int) -> None:
    resizer = pytest.importorskip("cykooz_resizer", reason="there is no wheel for this machine")
    # What is 0 or 255 shows a sum that runs over.
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels = pixels if seed % 2 else np.uint8(255) * (pixels > 100)
    expected = by_numpy(pixels, size)
    for instructions in (resizer.CpuExtensions.none, resizer.Resizer().cpu_extensions):
        assert_close(by_package(resizer, pixels, size, instructions), expected)
    if (height, width) != (size, size):
        assert_close(resize(pixels, size, "bilinear16"), expected)
        assert_close(expected, by_pillow(pixels, size, "bilinear"), 2)


def test_pixels_do_not_change_with_a_release() -> None:
    pixels = (np.arange(3 * 256 * 256) ** 2 % 251).astype(np.uint8).reshape(256, 256, 3)
    sums = [zlib.crc32(resize(pixels, size, "bilinear16").tobytes()) for size in (96, 224, 300)]
    assert sums == [3777653293, 4215508608, 1225846795]


def test_without_the_package_pixels_are_the_same(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    pixels = files.picture(70, 90)
    assert_close(resize(pixels, 33, "bilinear16"), by_numpy(pixels, 33))
    assert resizing._fastest() is resizing._by_numpy


def test_a_package_that_gives_other_pixels_is_not_used(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(*arguments: Any) -> NDArray[np.uint8]:
        return resizing._by_numpy(*arguments) ^ np.uint8(1)

    monkeypatch.setattr(resizing, "_compiled", lambda: off_by_one)
    pixels = files.picture(70, 90)
    assert_close(resize(pixels, 33, "bilinear16"), by_numpy(pixels, 33))


@pytest.mark.parametrize(("height", "width"), [(90, 70), (7, 130), (130, 7), (33, 90), (90, 33)])
def test_a_large_image_is_resized_in_strips(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = files.picture(height, width)
    monkeypatch.setattr(resizing, "_STRIP_PIXELS", 900)
    assert_close(resize(pixels, 33, "bilinear16"), by_numpy(pixels, 33))


@pytest.mark.parametrize("shape", [(1, 300_000), (300_000, 1)])
def test_an_image_that_is_far_too_long_is_refused(shape: tuple[int, int]) -> None:
    data = files.encode(np.zeros((*shape, 3), np.uint8), "png")
    with pytest.raises(ImageError, match="a side of more than 285,714 pixels cannot be resized to 224"):
        decode_resized(data, DecodeSettings(224, "bilinear16"))


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


def by_pillow(pixels: NDArray[np.uint8], size: int, resize_filter: str) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling[resize_filter.upper()]))


def by_numpy(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    return resizing._by_numpy(pixels.tobytes(), width, height, size, size)


def by_package(resizer: Any, pixels: NDArray[np.uint8], size: int, instructions: Any) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    resized = resizer.ImageData(size, size, resizer.PixelType.U8x3)
    program = resizer.Resizer()
    program.cpu_extensions = instructions
    program.resize(
        resizer.ImageData(width, height, resizer.PixelType.U8x3, pixels.tobytes()),
        resized,
        resizer.ResizeOptions(resizer.ResizeAlg.convolution(resizer.FilterType.bilinear), use_alpha=False),
    )
    return np.frombuffer(resized.get_buffer(), np.uint8).reshape(size, size, 3)
