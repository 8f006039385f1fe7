"""Colours of files with an ICC profile are those that the profile says."""

from __future__ import annotations

import io
import struct
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


def test_the_profile_of_a_large_printer_is_applied() -> None:
    inks = files.mosaic(bands=4)
    image = Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes())
    # What tables for printing add to a profile counts for nothing, but takes its room.
    data = files.encode(image, "tiff", icc_profile=PRINTER + bytes(9_000_000))
    assert_decodes(data, by_image_cms(inks, "CMYK", PRINTER), "tiff 4x8", ["cmyk", "icc_to_srgb"])


def test_tags_that_do_not_make_the_conversion_do_not_change_it() -> None:
    (number,) = struct.unpack_from(">I", WIDE, 128)
    at = 132 + 12 * number
    # A floating-point pipeline, which Little CMS would prefer to the matrix.
    entry = b"D2B0" + struct.pack(">II", len(WIDE) + 12, 16)
    moved = [WIDE[place : place + 4] + struct.pack(">II", *shifted(WIDE, place)) for place in range(132, at, 12)]
    more = (
        struct.pack(">I", len(WIDE) + 28)
        + WIDE[4:128]
        + struct.pack(">I", number + 1)
        + b"".join(moved)
        + entry
        + WIDE[at:]
        + b"mpet"
        + bytes(12)
    )
    assert_decodes(files.encode(RGB, "png", icc_profile=more), WIDE_RGB, "png 3x8", ["icc_to_srgb"])


def shifted(profile: bytes, place: int) -> tuple[int, int]:
    """Read where a tag is, and its size, when the table of tags has another entry."""
    where, size = struct.unpack_from(">II", profile, place + 4)
    return where + 12, size


def test_two_profiles_in_a_png_are_refused() -> None:
    data = files.encode(RGB, "png", icc_profile=WIDE)
    assert_refused(data[:33] + files.png_chunk(*icc_chunk(SRGB).popitem()) + data[33:], "2 colour profiles")
