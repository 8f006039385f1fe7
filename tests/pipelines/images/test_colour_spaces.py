"""Colour spaces that files state other than by the usual profile are followed, or named, or refused."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from PIL import Image

from pipelines.images import decode
from tests import image_files as files
from tests.pipelines.images.decoding import GRAY, RGB, WIDE, assert_close, assert_decodes, assert_refused

IGNORED = ["colour_space_ignored"]
SRGB_PLACES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_PLACES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
WIDE_RGB = decode(files.encode(RGB, "png", icc_profile=WIDE)).pixels


def with_chunks(mode: str, **chunks: bytes) -> bytes:
    return files.png(
        RGB if mode == "RGB" else GRAY, mode, chunks={name.encode(): data for name, data in chunks.items()}
    )


def gamma(value: int) -> bytes:
    return struct.pack(">I", value)


def places(values: Sequence[int]) -> bytes:
    return struct.pack(">8I", *values)


@pytest.mark.parametrize(
    ("chunks", "repairs"),
    [
        ({"gAMA": gamma(45455)}, ()),
        ({"gAMA": gamma(45455), "cHRM": places(SRGB_PLACES)}, ()),
        ({"gAMA": gamma(100000)}, IGNORED),
        ({"gAMA": gamma(55556)}, IGNORED),
        ({"cHRM": places(P3_PLACES)}, IGNORED),
        ({"sRGB": b"\0", "gAMA": gamma(100000), "cHRM": places(P3_PLACES)}, ()),
        ({"cICP": b"\1\x0d\0\1"}, ()),
        ({"cICP": b"\1\x0d\0\1", "gAMA": gamma(100000)}, ()),
        ({"cICP": b"\x0c\x0d\0\1", "sRGB": b"\0"}, IGNORED),
        ({"cICP": b"\1\x0d\0\0"}, IGNORED),
        ({"gAMA": gamma(0)}, ()),
        ({"gAMA": b"\0\1", "cHRM": b"", "cICP": b"\1"}, ()),
    ],
)
def test_a_png_whose_numbers_are_not_those_of_srgb_is_named(chunks: dict[str, bytes], repairs: Sequence[str]) -> None:
    assert_decodes(with_chunks("RGB", **chunks), RGB, "png 3x8", repairs)


def test_places_of_colours_do_not_matter_to_gray() -> None:
    assert decode(with_chunks("L", cHRM=places(P3_PLACES))).repairs == ("grayscale",)
    assert decode(with_chunks("L", gAMA=gamma(100000))).repairs == ("grayscale", *IGNORED)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_a_png_of_high_dynamic_range_is_refused(transfer: int, name: str) -> None:
    assert_refused(with_chunks("RGB", cICP=bytes((9, transfer, 0, 1))), f"high dynamic range .{name}.")


def test_a_profile_comes_before_other_numbers() -> None:
    data = files.encode(RGB, "png", icc_profile=WIDE)
    chunk = files.png_chunk(b"gAMA", gamma(100000))
    assert_decodes(data[:33] + chunk + data[33:], WIDE_RGB, "png 3x8", ["icc_to_srgb"])


def bmp_with_space(
    space: int, *, endpoints: Sequence[int] = (0,) * 9, exponent: int = 0, profile: bytes = b""
) -> bytes:
    """Write a BMP with the fifth header of Windows."""
    plain = files.encode(RGB, "bmp")
    pixels = plain[54:]
    colours = struct.pack("<16xI9i3I", space, *endpoints, exponent, exponent, exponent)
    header = struct.pack("<I", 124) + plain[18:54] + colours + struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    return plain[:2] + struct.pack("<IHHI", 138 + len(pixels) + len(profile), 0, 0, 138) + header + pixels + profile


ONE = 1 << 30
XYZ_SRGB = [round(part * ONE) for part in (0.4124, 0.2126, 0.0193, 0.3576, 0.7152, 0.1192, 0.1805, 0.0722, 0.9505)]
EMBEDDED, LINKED, SRGB, WINDOWS = 0x4D424544, 0x4C494E4B, 0x73524742, 0x57696E20


@pytest.mark.parametrize(
    ("data", "repairs"),
    [
        (bmp_with_space(SRGB), ()),
        (bmp_with_space(WINDOWS), ()),
        (bmp_with_space(0), ()),
        (bmp_with_space(0, endpoints=XYZ_SRGB, exponent=144179), ()),
        (bmp_with_space(0, endpoints=XYZ_SRGB, exponent=29789), ()),
        (bmp_with_space(0, endpoints=XYZ_SRGB, exponent=65536), IGNORED),
        (bmp_with_space(0, endpoints=[*XYZ_SRGB[3:6], *XYZ_SRGB[:3], *XYZ_SRGB[6:]]), IGNORED),
        (bmp_with_space(LINKED), IGNORED),
        (bmp_with_space(EMBEDDED, profile=WIDE[:200]), ["icc_ignored"]),
        (bmp_with_space(EMBEDDED, profile=WIDE)[:-5], ["icc_ignored"]),
    ],
)
def test_the_colour_space_of_a_bmp_is_named_if_it_is_not_followed(data: bytes, repairs: Sequence[str]) -> None:
    assert_decodes(data, RGB, "bmp 3x8", repairs)


def test_the_profile_of_a_bmp_is_applied() -> None:
    assert_decodes(bmp_with_space(EMBEDDED, profile=WIDE), WIDE_RGB, "bmp 3x8", ["icc_to_srgb"])


def test_the_profile_of_a_gif_is_applied() -> None:
    image = Image.fromarray(RGB).quantize(200)
    data = files.encode(image, "gif")
    blocks = b"".join(bytes((len(part),)) + part for part in (WIDE[at : at + 255] for at in range(0, len(WIDE), 255)))
    begin = 13 + (3 << (data[10] & 7) + 1)
    converted = decode(files.encode(image, "png", icc_profile=WIDE)).pixels
    extension = b"!\xff\x0bICCRGBG1012" + blocks + b"\0"
    assert_decodes(data[:begin] + extension + data[begin:], converted, "gif 1x8", ["palette", "icc_to_srgb"])


def test_the_profile_of_a_webp_needs_its_flag() -> None:
    data = bytearray(files.encode(RGB, "webp", lossless=True, icc_profile=WIDE))
    assert_decodes(bytes(data), WIDE_RGB, "webp 3x8", ["icc_to_srgb"])
    data[20] &= ~0x20
    assert_decodes(bytes(data), RGB, "webp 3x8", ["icc_ignored"])


def test_what_the_first_image_of_a_gif_leaves_uncovered_is_transparent() -> None:
    data = bytearray(files.encode(Image.fromarray(RGB).quantize(16), "gif"))
    whole = decode(bytes(data))
    data[6:10] = struct.pack("<HH", 60, 40)
    partial = decode(bytes(data))
    assert (whole.repairs, partial.repairs) == (("palette",), ("palette", "alpha_dropped"))
    assert_close(partial.pixels[:32, :48], whole.pixels)
