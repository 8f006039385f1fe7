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
    BEST,
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


def with_a_wrong_checksum(png: bytes, name: bytes) -> bytes:
    at = png.index(name)
    end = at + 4 + int.from_bytes(png[at - 4 : at], "big")
    return png[:end] + bytes(byte ^ 0xFF for byte in png[end : end + 4]) + png[end + 4 :]


def parted(profile: bytes, numbers: Sequence[int], count: int) -> bytes:
    """Write a JPEG with parts of a profile in front of and behind the frame header, of these numbers."""
    segments = files.jpeg_segments(files.encode(RGB, "jpeg", **BEST))
    size = -(-len(profile) // count)
    frame = next(place for place, segment in enumerate(segments) if segment.marker in (0xC0, 0xC2))
    parts = [
        files.JpegSegment(0xE2, b"ICC_PROFILE\0" + bytes((number, count)) + profile[size * (number - 1) :][:size])
        for number in numbers
    ]
    return files.join_jpeg([*segments[:frame], *parts[:1], segments[frame], *parts[1:], *segments[frame + 1 :]])


@pytest.mark.parametrize(
    ("data", "expected", "source", "repairs"),
    [
        (files.encode(RGB, "png", icc_profile=PRINTER), RGB, "png 3x8", ()),
        (files.encode(RGB, "png", icc_profile=LINEAR_GRAY), RGB, "png 3x8", ()),
        (files.encode(GRAY, "png", icc_profile=PRINTER), GRAY_RGB, "png 1x8", ["grayscale"]),
        (
            files.four_component_jpeg(RGBA, adobe=0, icc_profile=WIDE),
            from_inks(255 - RGBA),
            "jpeg 4x8",
            ["cmyk_inverted"],
        ),
        (files.encode(RGB, "png", icc_profile=WIDE.replace(b"RGB XYZ", b"Lab XYZ")), RGB, "png 3x8", ()),
        (files.encode(RGB, "png", icc_profile=b"no profile"), RGB, "png 3x8", ()),
        (files.encode(RGB, "png", icc_profile=WIDE[:200]), RGB, "png 3x8", ()),
        (files.encode(RGB, "png", icc_profile=WIDE.replace(b"gTRC", b"xTRC")), RGB, "png 3x8", ()),
        (files.encode(RGB, "tiff", icc_profile=WIDE[:200]), RGB, "tiff 3x8", ()),
        (files.encode(RGB, "webp", icc_profile=WIDE[:200], **LOSSLESS), RGB, "webp 3x8", ()),
        (files.png(RGB, "RGB", chunks={b"iCCP": b"x\0\0not compressed"}), RGB, "png 3x8", ()),
        (files.png(RGB, "RGB", chunks={b"iCCP": b"x\0\1" + zlib.compress(WIDE)}), RGB, "png 3x8", ()),
        (with_a_wrong_checksum(files.encode(RGB, "png", icc_profile=WIDE), b"iCCP"), RGB, "png 3x8", ()),
        (parted(WIDE, (1, 2), 3), RGB, "jpeg 3x8", ()),
        (parted(WIDE, (1, 1, 2), 2), RGB, "jpeg 3x8", ()),
        (parted(WIDE, (2, 3), 2), RGB, "jpeg 3x8", ()),
    ],
)
def test_a_profile_that_does_not_fit_or_is_damaged_is_ignored_and_named(
    data: bytes, expected: NDArray[np.uint8], source: str, repairs: Sequence[str]
) -> None:
    assert_decodes(data, expected, source, [*repairs, "icc_ignored"], within=1)


@pytest.mark.parametrize("numbers", [(1,), (1, 2), (2, 1), (3, 1, 2)])
def test_the_parts_of_a_profile_may_stand_around_the_frame_header(numbers: Sequence[int]) -> None:
    assert_decodes(parted(WIDE, numbers, len(numbers)), WIDE_RGB, "jpeg 3x8", ["icc_to_srgb"], within=3)


def test_a_profile_behind_the_pixels_is_not_theirs() -> None:
    data = files.encode(RGB, "png")
    end = data.index(b"IEND") - 4
    assert_decodes(data[:end] + files.png_chunk(*icc_chunk(WIDE).popitem()) + data[end:], RGB, "png 3x8")


def test_a_profile_for_inks_leaves_it_open_what_unmarked_components_are() -> None:
    assert_refused(files.unmarked_rgba_jpeg(RGB, icc_profile=PRINTER), "ICC profile that does not fit")


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


def test_of_two_profiles_in_a_png_none_counts() -> None:
    data = files.encode(RGB, "png", icc_profile=WIDE)
    two = data[:33] + files.png_chunk(*icc_chunk(SRGB).popitem()) + data[33:]
    assert_decodes(two, RGB, "png 3x8", ["icc_ignored"])
