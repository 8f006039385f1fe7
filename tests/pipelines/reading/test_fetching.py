"""Large images are judged by their heads, wherever they are; none is lost or waits forever, whatever the budget."""

from __future__ import annotations

import faulthandler
import os
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipelines.images import DecodeSettings
from pipelines.images.limits import SMALL_FILE, Limits
from pipelines.listing import list_images
from pipelines.reading.ahead import LookAhead
from pipelines.reading.fetched import Refusal
from pipelines.reading.source import ImageSource
from pipelines.records import Image, ImageRef
from pipelines.supervision.budget import Budget
from tests.image_files import BLACK_IS_ZERO, bomb, encode, picture, png_chunk, tiff
from tests.pipelines.archives.packing import pack
from tests.pipelines.reading.single import read_single

PLACES = ("folder", "x.tar", "x.zip", "stored.zip", "x.tar.gz")
CHIP = encode(picture(), "png")
LARGE = CHIP[:-12] + png_chunk(b"prVt", os.urandom(SMALL_FILE)) + CHIP[-12:]
"""The same picture, with data that no decoder looks at."""


def put(folder: Path, place: str, files: Mapping[str, bytes]) -> list[ImageRef]:
    """Write images into a folder or an archive, and list them."""
    if place == "folder":
        (folder / place).mkdir()
        for name, data in files.items():
            (folder / place / name).write_bytes(data)
    else:
        pack(folder / place, files, zipfile.ZIP_STORED if place == "stored.zip" else zipfile.ZIP_DEFLATED)
    return [ref for ref in list_images([str(folder / place)]) if isinstance(ref, ImageRef)]


def source(capacity: int, memory: int = 10**12, limits: Limits = Limits()) -> ImageSource:  # noqa: B008
    return ImageSource(DecodeSettings(32, "bilinear"), limits, 2, Budget(capacity, memory))


@contextmanager
def in_time() -> Iterator[None]:
    """End the tests, and print where each thread stands, if this takes forever."""
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("place", PLACES)
def test_of_what_is_no_image_only_the_head_is_fetched(place: str, tmp_path: Path) -> None:
    [ref] = put(tmp_path, place, {"a.jpg": bytes(20_000_000)})

    with closing(source(10**9)) as opened:
        tracemalloc.start()
        refused = read_single(opened, ref)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    message = f"not a JPEG, JPEG 2000, PNG, TIFF, GIF, BMP or WebP file: begins with {bytes(8)!r}"
    assert refused == Refusal("decode", "NotAnImageError", message)
    # A stream reads a megabyte ahead.
    assert peak < 4_000_000


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[ImageRef]:
    """Small and large images of all places, those of one number next to each other.

    So members of a stream are fetched ahead while files before them wait for memory.
    """
    folder = tmp_path_factory.mktemp("mixed")
    files = {f"{number:02}.png": LARGE if number % 3 else CHIP for number in range(9)}
    refs = [ref for place in PLACES for ref in put(folder, place, files)]
    return sorted(refs, key=lambda ref: ref.path[-6:])


@pytest.mark.parametrize("reads_in_flight", [1, 3, 32])
@pytest.mark.parametrize("capacity", [1, 3_000_000, 10**9], ids=["one byte", "one image", "all images"])
def test_every_image_is_read_whatever_the_budget(capacity: int, reads_in_flight: int, mixed: list[ImageRef]) -> None:
    with in_time(), closing(LookAhead(source(capacity), reads_in_flight)) as ahead:
        read = list(ahead.read(mixed))

    assert [item.ref if isinstance(item, Image) else item for item in read] == mixed
    assert {(item.width, item.height) for item in read if isinstance(item, Image)} == {(64, 48)}


@pytest.mark.parametrize("some", [0, 1, 7])
def test_reading_can_be_given_up_at_any_moment(some: int, mixed: list[ImageRef]) -> None:
    with in_time(), closing(LookAhead(source(1), 3)) as ahead:
        assert len(list(islice(ahead.read(mixed), some))) == some


def test_a_file_that_grew_after_it_was_listed_is_read(tmp_path: Path) -> None:
    [ref] = put(tmp_path, "folder", {"a.png": CHIP})
    Path(ref.path).write_bytes(LARGE)

    with closing(source(10**9)) as opened:
        assert not isinstance(read_single(opened, ref), Refusal)


@pytest.mark.parametrize("place", PLACES)
def test_an_image_that_takes_more_than_all_memory_is_refused_before_it_takes_any(place: str, tmp_path: Path) -> None:
    large, huge = put(tmp_path, place, {"a.png": bomb("png", 8000, 8000) + bytes(SMALL_FILE), "b.png": LARGE})

    with closing(source(10**6, memory=500_000_000)) as opened:
        refused = read_single(opened, large)
    assert isinstance(refused, Refusal)
    assert refused[:2] == ("decode", "ImageTooLargeError")
    assert "MB of memory, but only 500 MB may be used; use a machine with more memory" in refused.message

    with closing(source(10**6, memory=1_000_000)) as opened:
        refused = read_single(opened, huge)
    assert refused == Refusal("read", "MemoryError", f"{huge.size:,} bytes do not fit in memory")


@pytest.mark.parametrize("place", PLACES)
def test_memory_is_reckoned_by_a_directory_behind_the_pixels_too(place: str, tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 256, (300, 300, 16), np.uint8)
    [ref] = put(tmp_path, place, {"a.tif": tiff(bands, BLACK_IS_ZERO)})
    assert ref.size > SMALL_FILE

    with closing(source(10**6, memory=5_000_000)) as opened:
        refused = read_single(opened, ref)
    assert isinstance(refused, Refusal)
    assert "decoding takes 7 MB of memory, but only 5 MB may be used" in refused.message


def test_isolated_images_need_memory_for_their_child_too(tmp_path: Path) -> None:
    [ref] = put(tmp_path, "folder", {"a.png": LARGE})
    needed = []

    class Noted(Budget):
        def take(self, wanted: int, wait: bool = True) -> int:
            needed.append(wanted)
            return super().take(wanted, wait)

    for isolated in (False, True):
        budget = Noted(10**9, 10**9)
        with closing(ImageSource(DecodeSettings(32, "bilinear"), Limits(isolated=isolated), 1, budget)) as opened:
            assert not isinstance(read_single(opened, ref), Refusal)
    assert needed[1] - needed[0] == len(LARGE)
