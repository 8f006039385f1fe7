"""The head of a file is refused only for what the whole file is refused for, and tells what decoding takes."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image, TiffImagePlugin

from pipelines.images import decoding
from pipelines.images.decoding import decode
from pipelines.images.head import judge_head
from pipelines.images.layout import ImageError, ImageTooLargeError, NotAnImageError
from pipelines.images.limits import HEAD, MAX_PIXELS, SMALL_FILE
from tests import image_files as files
from tools.image_mutations import make_case
from tools.image_seeds import Seed, draw_seeds

SEEDS = draw_seeds()


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_an_image_is_refused_by_its_head_exactly_beyond_the_limit(seed: Seed) -> None:
    pixels = 40 * 28

    cost = judge_head(seed.data, pixels)
    assert cost.known
    assert cost.bytes >= 4 * pixels, "an RGB image of Pillow takes four bytes per pixel"
    with pytest.raises(ImageTooLargeError, match=r"40 x 28|28 x 40"):
        judge_head(seed.data, pixels - 1)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_no_image_is_refused_for_what_its_head_lacks(seed: Seed) -> None:
    for length in range(16, len(seed.data), 1 + len(seed.data) // 50):
        cost = judge_head(seed.data[:length], MAX_PIXELS)
        assert cost == judge_head(seed.data, MAX_PIXELS) or not cost.known, f"cut off at {length}"


def test_what_a_damaged_head_is_refused_for_the_whole_file_is_refused_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "SMALL_FILE", 0)
    refused = 0

    for number in range(1500):
        data = make_case(SEEDS, 4, number).data
        reason = reason_of(lambda: judge_head(data[:HEAD], 2000))  # noqa: B023
        if reason:
            refused += 1
            assert reason_of(lambda: decode(data, max_pixels=2000)) == reason, f"number {number}"  # noqa: B023

    assert refused > 100


def reason_of(work: Callable[[], object]) -> tuple[str, str] | None:
    """Return the kind and message of the error that refuses an image, if it does."""
    try:
        work()
    except ImageError as error:
        return type(error).__name__, str(error)
    return None


@pytest.mark.parametrize("format_name", ["jpeg", "jpeg2000", "png", "tiff", "gif", "bmp", "webp"])
def test_a_bomb_is_refused_by_its_head(format_name: str) -> None:
    with pytest.raises(ImageTooLargeError):
        judge_head(files.bomb(format_name), MAX_PIXELS)


def test_decoding_a_tiff_takes_what_its_main_image_takes() -> None:
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for size, kind in (((8, 8), 1), ((8, 8), 4), ((640, 480), 0), ((8, 8), 0)):
            Image.new("RGB", size).save(writer, "tiff", tiffinfo={254: kind})
            writer.newFrame()
    data = buffer.getvalue()

    alone = judge_head(files.encode(Image.new("RGB", (640, 480)), "tiff"), MAX_PIXELS)
    assert judge_head(data, MAX_PIXELS) == alone
    for length in range(16, 1500):
        assert judge_head(data[:length], MAX_PIXELS) == alone or not judge_head(data[:length], MAX_PIXELS).known


def test_zeros_are_no_image() -> None:
    with pytest.raises(NotAnImageError, match="begins with b'"):
        judge_head(bytes(HEAD), MAX_PIXELS)


def test_a_large_file_has_the_same_reason_before_and_after_the_rest_is_there() -> None:
    # Too many pixels, and behind the head a damaged checksum.
    data = files.bomb("png") + struct.pack(">I", SMALL_FILE) + b"IDAT" + bytes(SMALL_FILE + 4)

    with pytest.raises(ImageTooLargeError) as early:
        judge_head(data[:HEAD], MAX_PIXELS)
    with pytest.raises(ImageTooLargeError) as late:
        decode(data)

    assert str(early.value) == str(late.value)


def test_progressive_and_four_component_jpegs_take_more() -> None:
    plain, progressive = (files.encode(files.picture(), "jpeg", progressive=way) for way in (False, True))
    four = files.unmarked_rgba_jpeg(files.picture())

    costs = [judge_head(data, MAX_PIXELS).bytes for data in (plain, four, progressive)]

    assert costs == sorted(set(costs))
