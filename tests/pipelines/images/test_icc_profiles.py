"""Colours of files with an ICC profile are those that the profile says."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests import icc_profiles
from tests import image_files as files
from tests.pipelines.images.decoding import (
    DEEP_GRAY,
    GRAY,
    GRAY_RGB,
    LOSSLESS,
    PALETTE,
    PRINTER,
    RGB,
    RGBA,
    UNMARKED,
    WIDE,
    assert_decodes,
    assert_refused,
    from_inks,
    to_eight_bits,
)

LINEAR_GRAY = icc_profiles.gray(1.0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def icc_chunk(profile: bytes) -> dict[bytes, bytes]:
    return {b"iCCP": b"profile\0\0" + zlib.compress(profile)}


def by_image_cms(samples: NDArray[np.uint8], mode: str, profile: bytes) -> NDArray[np.uint8]:
    image = Image.frombytes(mode, (samples.shape[1], samples.shape[0]), samples.tobytes())
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return np.asarray(converted)


WIDE_RGB = by_image_cms(RGB, "RGB", WIDE)


@pytest.mark.parametrize(
    ("data", "expected", "source", "repairs"),
    [
        (files.encode(RGB, "png", icc_profile=WIDE), WIDE_RGB, "png 3x8", ()),
        (files.encode(RGB, "webp", icc_profile=WIDE, **LOSSLESS), WIDE_RGB, "webp 3x8", ()),
        (files.encode(RGB, "tiff", icc_profile=WIDE), WIDE_RGB, "tiff 3x8", ()),
        (
            files.png(RGBA, "RGBA", chunks=icc_chunk(WIDE)),
            by_image_cms(RGBA[..., :3], "RGB", WIDE),
            "png 4x8",
            ["alpha_dropped"],
        ),
        (files.unmarked_rgba_jpeg(RGB, icc_profile=WIDE), WIDE_RGB, "jpeg 4x8", UNMARKED),
        (files.encode(GRAY, "png", icc_profile=WIDE), by_image_cms(GRAY_RGB, "RGB", WIDE), "png 1x8", ["grayscale"]),
        (
            files.encode(GRAY, "png", icc_profile=LINEAR_GRAY),
            by_image_cms(GRAY, "L", LINEAR_GRAY),
            "png 1x8",
            ["grayscale"],
        ),
        (
            files.encode(GRAY, "jpeg", quality=100, icc_profile=LINEAR_GRAY),
            by_image_cms(GRAY, "L", LINEAR_GRAY),
            "jpeg 1x8",
            ["grayscale"],
        ),
        (
            files.png(DEEP_GRAY, "L", chunks=icc_chunk(LINEAR_GRAY)),
            by_image_cms(to_eight_bits(DEEP_GRAY).astype(np.uint8), "L", LINEAR_GRAY),
            "png 1x16",
            ["depth_scaled", "grayscale"],
        ),
        (
            files.png(GRAY, "P", chunks={**icc_chunk(WIDE), b"PLTE": PALETTE.tobytes()}),
            by_image_cms(PALETTE[GRAY], "RGB", WIDE),
            "png 1x8",
            ["palette"],
        ),
        (
            files.four_component_jpeg(RGBA, adobe=0, icc_profile=PRINTER),
            by_image_cms(255 - RGBA, "CMYK", PRINTER),
            "jpeg 4x8",
            ["cmyk_inverted"],
        ),
        (
            files.four_component_jpeg(RGBA, icc_profile=PRINTER),
            by_image_cms(RGBA, "CMYK", PRINTER),
            "jpeg 4x8",
            ["cmyk"],
        ),
        (
            files.encode(Image.frombytes("CMYK", GRAY.shape[::-1], RGBA.tobytes()), "tiff", icc_profile=PRINTER),
            by_image_cms(RGBA, "CMYK", PRINTER),
            "tiff 4x8",
            ["cmyk"],
        ),
    ],
)  # fmt: skip
def test_a_profile_changes_colours_as_image_cms_says(
    data: bytes, expected: NDArray[np.uint8], source: str, repairs: Sequence[str]
) -> None:
    assert_decodes(data, expected, source, [*repairs, "icc_to_srgb"])


def test_the_profiles_of_these_tests_are_far_from_srgb() -> None:
    assert np.abs(WIDE_RGB.astype(int) - RGB).max() > 40
    assert np.abs(by_image_cms(GRAY, "L", LINEAR_GRAY).astype(int) - GRAY_RGB).max() > 40
    assert np.abs(by_image_cms(RGBA, "CMYK", PRINTER).astype(int) - from_inks(RGBA)).max() > 40


@pytest.mark.parametrize(
    ("data", "expected", "source", "repairs"),
    [
        (files.encode(RGB, "png", icc_profile=SRGB), RGB, "png 3x8", ()),
        (files.unmarked_rgba_jpeg(RGB, icc_profile=SRGB), RGB, "jpeg 4x8", UNMARKED),
        (files.encode(GRAY, "png", icc_profile=SRGB), GRAY_RGB, "png 1x8", ["grayscale"]),
        (files.encode(GRAY, "png", icc_profile=icc_profiles.gray_like_srgb(1024)), GRAY_RGB, "png 1x8", ["grayscale"]),
        (files.encode(GRAY, "png", icc_profile=icc_profiles.gray_like_srgb(16)), GRAY_RGB, "png 1x8", ["grayscale"]),
    ],
)
def test_an_srgb_profile_changes_nothing(
    data: bytes, expected: NDArray[np.uint8], source: str, repairs: Sequence[str]
) -> None:
    assert_decodes(data, expected, source, repairs)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (files.encode(RGB, "png", icc_profile=PRINTER), "RGB image with an ICC profile for CMYK"),
        (files.encode(RGB, "png", icc_profile=LINEAR_GRAY), "RGB image with an ICC profile for GRAY"),
        (files.encode(GRAY, "png", icc_profile=PRINTER), "L image with an ICC profile for CMYK"),
        (files.four_component_jpeg(RGBA, adobe=0, icc_profile=WIDE), "CMYK image with an ICC profile for RGB"),
        (files.unmarked_rgba_jpeg(RGB, icc_profile=PRINTER), "RGB image with an ICC profile for CMYK"),
        (files.encode(RGB, "png", icc_profile=WIDE.replace(b"RGB XYZ", b"Lab XYZ")), "ICC profile for nothing|Lab"),
        (files.encode(RGB, "png", icc_profile=b"no profile"), "profile"),
        (files.encode(RGB, "png", icc_profile=WIDE[:200]), "profile"),
        (files.encode(RGB, "png", icc_profile=WIDE.replace(b"gTRC", b"xTRC")), "transform"),
    ],
)
def test_a_profile_that_does_not_fit_or_is_damaged_is_refused(data: bytes, reason: str) -> None:
    assert_refused(data, reason)
