"""A JPEG 2000 gives the colours that its boxes describe, whole, or a reason why not."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile

from pipelines.images import ImageError, decode
from pipelines.images.head import judge_head
from pipelines.images.limits import HEAD
from pipelines.images.rendering import Rendering
from tests import image_files as files
from tests.jpeg2000_files import box, codestream, colour_box, join_tile_parts, jp2, tile_parts
from tests.pipelines.images.decoding import (
    GRAY,
    GRAY_RGB,
    PRINTER,
    RGB,
    RGBA,
    WIDE,
    assert_decodes,
    assert_refused,
    from_inks,
    from_ycc,
)
from tools import hostile_jpeg2000

SRGB, GRAYS, YCC, CMYK = map(colour_box, (16, 17, 18, 12))
PICTURE = files.picture(200, 300)
STREAM, STREAM_OF_4 = codestream(RGB), codestream(RGBA)


def profile_box(profile: bytes, method: int = 2) -> bytes:
    return box(b"colr", bytes((method, 0, 0)) + profile)


def channel_box(*channels: tuple[int, int, int]) -> bytes:
    """Define channels: component, kind (0 for a colour, 1 for opacity) and number of the colour."""
    return box(b"cdef", struct.pack(">H", len(channels)) + b"".join(struct.pack(">HHH", *one) for one in channels))


def palette_boxes(colours: NDArray[np.uint8], depth: int = 7) -> bytes:
    columns = colours.shape[1]
    palette = struct.pack(">HB", len(colours), columns) + bytes([depth] * columns) + colours.tobytes()
    mapping = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(columns))
    return box(b"pclr", palette) + box(b"cmap", mapping)


def with_depth(stream: bytes, depth: int, component: int = 0) -> bytes:
    """Give a component another depth, by the byte that names it."""
    at = 42 + 3 * component
    return stream[:at] + bytes((depth,)) + stream[at + 1 :]


REVERSED = channel_box((0, 0, 3), (1, 0, 2), (2, 0, 1))
OPACITY = channel_box((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0))


@pytest.mark.parametrize(
    ("data", "expected", "repairs"),
    [
        (STREAM, RGB, ()),
        (jp2(STREAM, SRGB), RGB, ()),
        (jp2(STREAM), RGB, ()),
        (jp2(STREAM, SRGB) + b"junk" * 9, RGB, ()),
        (files.encode(RGB, "jpeg2000", tile_size=(16, 16)), RGB, ()),
        (files.encode(RGB, "jpeg2000", progression="RPCL", precinct_size=(32, 32), quality_layers=[9, 1]), RGB, ()),
        (codestream(RGB, offset=(3, 5), tile_size=(16, 16), tile_offset=(3, 5)), RGB, ()),
        (codestream(GRAY), GRAY_RGB, ["grayscale"]),
        (jp2(codestream(GRAY), GRAYS), GRAY_RGB, ["grayscale"]),
        (
            jp2(
                codestream(Image.fromarray(RGBA[..., :2].copy(), "LA")),
                GRAYS,
                channel_box((0, 0, 0), (1, 1, 0)),
            ),
            RGBA[..., [0, 0, 0]],
            ["grayscale", "alpha_dropped"],
        ),
        (jp2(STREAM_OF_4, SRGB, OPACITY), RGBA[..., :3], ["alpha_dropped"]),
        (jp2(STREAM_OF_4, SRGB), RGBA[..., :3], ["extra_band_dropped"]),
        (jp2(STREAM, SRGB, REVERSED), RGB[..., ::-1], ["bands_321"]),
        (jp2(STREAM, YCC), from_ycc(RGB), ()),
        (jp2(STREAM_OF_4, CMYK), from_inks(RGBA), ["cmyk"]),
        (jp2(STREAM, SRGB) + box(b"jp2c", STREAM), RGB, ["first_frame"]),
        (jp2(STREAM, GRAYS, SRGB).replace(GRAYS, box(b"colr", b"\4\0\0name")), RGB, ()),
    ],
)
def test_colours_are_those_of_the_boxes(data: bytes, expected: NDArray[np.uint8], repairs: Sequence[str]) -> None:
    samples = int.from_bytes(data[data.index(b"\xff\x4f\xff\x51") + 40 :][:2], "big")
    assert_decodes(data, expected, f"jpeg2000 {samples}x8", repairs, within=1)


@pytest.mark.parametrize("bits", [8, 4, 1])
def test_a_palette_may_hold_a_colour_twice(bits: int) -> None:
    indices = GRAY >> (8 - bits)
    palette = np.random.default_rng(3).integers(0, 256, (1 << bits, 3), np.uint8)
    palette[-1:] = palette[:1]
    # A decoder adds half of the range to every sample.
    stream = with_depth(codestream((indices + 128 - (1 << bits - 1)).astype(np.uint8)), bits - 1)
    source = f"jpeg2000 1x{bits}"
    assert_decodes(jp2(stream, SRGB, palette_boxes(palette)), palette[indices], source, ["palette"])
    reversed_channels = jp2(stream, SRGB, palette_boxes(palette), REVERSED)
    assert_decodes(reversed_channels, palette[indices][..., ::-1], source, ["palette"])


def test_profiles_are_applied_or_named() -> None:
    wide = decode(files.encode(RGB, "png", icc_profile=WIDE)).pixels
    for method in (2, 3):
        assert_decodes(jp2(STREAM, profile_box(WIDE, method)), wide, "jpeg2000 3x8", ["icc_to_srgb"], within=1)
    assert_decodes(jp2(STREAM, profile_box(WIDE[:200])), RGB, "jpeg2000 3x8", ["icc_ignored"])
    assert_decodes(jp2(STREAM, profile_box(PRINTER)), RGB, "jpeg2000 3x8", ["icc_ignored"])
    assert_decodes(jp2(STREAM, profile_box(b"")), RGB, "jpeg2000 3x8", ["icc_ignored"])
    assert_decodes(jp2(STREAM, SRGB, profile_box(WIDE)), RGB, "jpeg2000 3x8")


DEEP_GRAY = Image.fromarray(files.deep(GRAY // 4))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_depth(with_depth(with_depth(STREAM, 11), 11, 1), 11, 2), "12-bit JPEG 2000: it is unknown how bright"),
        (with_depth(codestream(GRAY), 8), "9-bit JPEG 2000: it is unknown how bright"),
        (with_depth(with_depth(with_depth(STREAM, 15), 15, 1), 15, 2), "16-bit JPEG 2000: it is unknown how bright"),
        (codestream(DEEP_GRAY), "in the darker half of the range"),
        (with_depth(codestream(GRAY), 0), "1-bit samples"),
        (with_depth(STREAM, 3), "4-bit samples"),
        (with_depth(STREAM, 0x87), "signed samples"),
        (STREAM[:46] + b"\2" + STREAM[47:], "subsampled samples"),
        (codestream(Image.fromarray(RGB[..., :2].copy(), "LA")), "does not say which are its"),
        (STREAM_OF_4, "no colour space"),
        (jp2(STREAM, GRAYS), "does not say which are its"),
        (jp2(STREAM, CMYK), "does not say which are its"),
        (jp2(STREAM, SRGB, channel_box((0, 0, 1), (1, 0, 2))), "does not say which are its"),
        (jp2(STREAM, YCC, REVERSED), "unusual order"),
        (jp2(STREAM_OF_4, SRGB, OPACITY.replace(b"\0\3\0\1", b"\0\3\0\2")), "multiplied by its opacity"),
        (jp2(STREAM, colour_box(14)), "colour space numbered 14"),
        (jp2(STREAM, SRGB, size=(32, 47, 3)), "differ in size"),
        (jp2(codestream(GRAY), SRGB, palette_boxes(RGBA[0])), "a palette of 4 columns"),
        (
            jp2(codestream(GRAY), SRGB, palette_boxes(RGB[0], 11)),
            "a palette of 3 columns",
        ),
        (jp2(STREAM, SRGB).replace(b"jp2c", b"jp2d"), "no codestream"),
        (STREAM.replace(b"\xff\x52", b"\xff\x64"), "how it is coded"),
        (STREAM[:51], "it ends before its pixels"),
        (files.bomb("jpeg2000", 7000, 7000), "too few for a picture"),
    ],
)
def test_what_leaves_colours_open_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    assert_refused(data, reason)


CODINGS: list[dict[str, object]] = [
    {"tile_size": (64, 64)},
    {"progression": "RPCL", "precinct_size": (64, 64), "codeblock_size": (32, 32)},
    {"irreversible": True, "quality_mode": "dB", "quality_layers": [30, 40]},
]


@pytest.mark.parametrize("options", CODINGS)
def test_a_tile_without_its_last_packets_is_refused(options: dict[str, object]) -> None:
    header, parts, end = tile_parts(codestream(files.picture(120, 160), **options))
    whole = decode(join_tile_parts(header, parts, end)).pixels
    filled = 0
    for length in range(20, len(parts[-1]), max(1, len(parts[-1]) // 40)):
        data = join_tile_parts(header, [*parts[:-1], parts[-1][:length]], end)
        try:
            pixels = decode(data).pixels
        except ImageError as error:
            filled += "before its last packet" in str(error)
            continue
        assert np.array_equal(pixels, whole), f"{length} of {len(parts[-1])} bytes"
    assert filled or "tile_size" in options, "no cut was at the end of a packet, which OpenJPEG would not notice"


def test_a_codestream_without_a_tile_or_its_end_is_refused() -> None:
    header, parts, end = tile_parts(codestream(PICTURE, tile_size=(64, 64)))
    whole = decode(join_tile_parts(header, parts, end)).pixels
    assert np.array_equal(decode(join_tile_parts(header, parts, b"")).pixels, whole)
    for number in range(len(parts)):
        lacking = join_tile_parts(header, [*parts[:number], *parts[number + 1 :]], end)
        assert_refused(lacking, "it lacks 1 of its 20 tiles")
    cut = join_tile_parts(header, parts, end)[:-40]
    for data in (cut, cut + bytes(40), jp2(cut, SRGB), jp2(cut + bytes(40), SRGB)):
        assert_refused(data, "JPEG 2000")
    assert_refused(jp2(cut + bytes(40), SRGB)[:-40], "its box b'jp2c' at byte .* is not whole")


def test_the_count_and_the_length_of_tile_parts_may_be_left_open() -> None:
    header, parts, end = tile_parts(codestream(PICTURE, tile_size=(256, 256)))
    whole = decode(join_tile_parts(header, parts, end)).pixels
    for count in (0, 2, 7):
        counted = [part[:11] + bytes((count,)) + part[12:] for part in parts]
        assert np.array_equal(decode(join_tile_parts(header, counted, end)).pixels, whole), f"{count} parts"
    stream = bytearray(join_tile_parts(header, parts, end))
    at = len(stream) - len(end) - len(parts[-1])
    stream[at + 6 : at + 10] = bytes(4)
    assert np.array_equal(decode(bytes(stream)).pixels, whole)


def test_more_tiles_and_code_blocks_than_are_decoded_are_refused() -> None:
    stream = files.bomb("jpeg2000", 4000, 4000)
    at = stream.index(b"\xff\x51") + 22
    assert_refused(stream[:at] + struct.pack(">II", 16, 16) + stream[at + 8 :], "62,500 tiles")
    coding = stream.index(b"\xff\x52") + 10
    assert_refused(stream[:coding] + b"\0\0" + stream[coding + 2 :], "code blocks and packets in a tile")


def test_what_a_jpeg_2000_takes_is_known_from_its_head() -> None:
    data = files.encode(PICTURE, "jpeg2000", tile_size=(64, 64))
    assert judge_head(data[:HEAD], 10**6).known
    assert judge_head(codestream(PICTURE), 10**6).bytes == 300 * 200 * 20
    assert not judge_head(data[:100], 10**6).known


@pytest.mark.parametrize("origin", [(0, 0), (64, 32)])
@pytest.mark.parametrize("missing", [1, 2, 10, 100])
def test_a_tile_that_lacks_its_last_bytes_is_refused(origin: tuple[int, int], missing: int) -> None:
    """Its length says what is there, so that the file looks whole; of the last packet, only the data is cut off."""
    data = files.encode(
        files.picture(200, 190), "jpeg2000", tile_size=(64, 64), offset=origin, tile_offset=origin, no_jp2=True
    )
    start = data.rindex(b"\xff\x90\x00\x0a")
    (length,) = struct.unpack_from(">I", data, start + 6)
    cut = data[: start + 6] + struct.pack(">I", length - missing) + data[start + 10 : start + length - missing]
    decode(data)
    with pytest.raises(ImageError, match=r"truncated JPEG 2000|broken data stream"):
        decode(cut + data[start + length :])


def test_each_component_and_each_tile_counts_with_its_own_packets() -> None:
    for build in (hostile_jpeg2000.many_packets, hostile_jpeg2000.packets_of_another_tile):
        assert decode(build(1)).pixels.size
        assert_refused(build(200), r" bytes for [\d,]+ packets")
    assert_refused(hostile_jpeg2000.many_progressions(200), "2,457,600 packets: the limit")
    assert_refused(hostile_jpeg2000.many_places(1000), "begin at 35,000,000 places: the limit")


def test_a_thin_tile_has_no_packets_of_resolutions_that_leave_it_out() -> None:
    # The last tile is a column, from 100 to 101: four of its seven resolutions hold nothing. Each packet is a byte.
    flat = np.full((100, 101, 3), 90, np.uint8)
    data = codestream(flat, tile_size=(100, 100), num_resolutions=7, quality_layers=[60] * 90)
    packets = 3 * 90 * (7 + 3)
    assert packets < len(data) < packets + 3 * 90 * 4
    assert decode(data).pixels.shape == flat.shape


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_band_of_more_than_8_bits_is_shown_as_the_user_says(bits: int) -> None:
    values = (files.picture(40, 60)[..., 0].astype(np.uint16) << (bits - 8)) + 1
    with MemoryFile() as memory:
        shape = {"width": 60, "height": 40, "count": 1, "dtype": "uint16", "NBITS": bits}
        with memory.open(driver="JP2OpenJPEG", REVERSIBLE="YES", QUALITY=100, **shape) as file:
            file.write(values, 1)
        data = memory.read()
    low, high = 1 << (bits - 3), 1 << (bits - 1)
    decoded = decode(data, rendering=Rendering((), ((low, high),) * 3))
    expected = np.clip((values.astype(float) - low) * 255 / (high - low), 0, 255)
    assert np.abs(decoded.pixels[..., 0] - expected).max() <= 0.501
    assert (decoded.source, decoded.repairs) == (f"jpeg2000 1x{bits}", ("stretched", "grayscale"))
    if bits < 16:
        assert_refused(data, "it is unknown how bright its white is; give --stretch LOW:HIGH")
    with pytest.raises(ImageError, match="give it one range"):
        decode(data, rendering=Rendering((), ((0, 1), (0, 2), (0, 3))))
    with pytest.raises(ImageError, match="truncated JPEG 2000"):
        decode(data[:-400], rendering=Rendering((), ((low, high),) * 3))
