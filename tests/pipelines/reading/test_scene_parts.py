"""The parts of a scene are read once each, no further ahead than there is memory, and fail alone."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipelines import storage
from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.reading import parts
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Failure, Image
from pipelines.scenes import reading
from pipelines.scenes.grid import Grid
from pipelines.supervision.budget import Budget
from tests.pipelines.reading.windowed import MOST, SHOWN, TILE, box, check_like_chips, cut, images, read
from tests.scene_files import samples, write_scene


def test_no_tile_is_decoded_or_fetched_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(500, 640), tile=64, compress="deflate")
    fetched: Counter[int] = Counter()
    read_range = storage.read_range

    def count(name: str, start: int, length: int, fingerprint: str = "") -> bytes:
        fetched.update(range(start, start + length))
        return read_range(name, start, length, fingerprint)

    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 640 * 64)
    refs = cut(path)
    monkeypatch.setattr(storage, "read_range", count)
    decoding = DecodeSettings(48, "bilinear", MOST, SHOWN)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=TILE), 4)) as ahead:
        assert len(list(ahead.read(refs))) == 80  # type: ignore[arg-type]
    with rasterio.open(path) as file:
        first = min(int(file.get_tag_item(f"BLOCK_OFFSET_{x}_0", "TIFF", bidx=1)) for x in range(10))
    again = [byte for byte, times in fetched.items() if times > 1 and byte >= max(first, 1 << 16)]
    assert not again, f"{len(again)} bytes were fetched twice, e.g. byte {again[0]}"


def test_windows_that_lie_in_several_parts_do_not_decode_them_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(300, 210), tile=32)
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    decoded: list[int] = []
    read_part = reading.read_part

    def count(scene: Any, number: int, *others: Any) -> Any:
        decoded.append(number)
        return read_part(scene, number, *others)

    monkeypatch.setattr(parts, "read_part", count)
    check_like_chips(path, read(path, Grid(50, 50)))
    assert sorted(decoded) == list(range(5))


def test_a_scene_that_is_cut_off_loses_only_the_parts_of_which_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(256, 256), tile=64)
    # A part for each row of tiles.
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    whole = images(read(path))
    path.write_bytes(path.read_bytes()[:-100])

    shown = read(path)

    for item, complete in zip(shown[:12], whole, strict=False):
        assert isinstance(item, Image)
        assert box(item) == box(complete)
        assert np.array_equal(item.pixels, complete.pixels)
    failures = [item for item in shown[12:] if isinstance(item, Failure)]
    assert [item.path for item in failures] == [f"{path}#xywh={column},192,64,64" for column in range(0, 256, 64)]
    [message] = {item.message for item in failures}
    assert message.startswith("truncated TIFF: the tile at byte ")


def test_a_scene_that_is_replaced_while_it_is_read_is_a_failure(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(64, 64), tile=64)
    refs = cut(path)
    write_scene(path, samples(64, 64, seed=1), tile=64)
    decoding = DecodeSettings(48, "bilinear", MOST, SHOWN)
    with closing(LookAhead(ImageSource(decoding, Limits(), 2, grid=TILE), 4)) as ahead:
        [failure] = ahead.read(refs)  # type: ignore[arg-type]
    assert isinstance(failure, Failure)
    assert failure.message == "the file has changed since it was listed; run the same command again"


def test_parts_are_read_ahead_only_as_far_as_there_is_memory_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part has one window; as many as are read ahead would take many times the budget."""
    path = write_scene(tmp_path / "scene.tif", samples(64 * 40, 64), tile=64)
    monkeypatch.setattr("pipelines.scenes.division._TYPICAL_PIXELS", 1)
    size = 64 * 64 * 4
    source = ImageSource(DecodeSettings(48, "bilinear", MOST, SHOWN), Limits(), 2, Budget(4 * 3 * size, MOST), TILE)
    most = 0
    read_part = reading.read_part

    def look(*arguments: Any) -> Any:
        nonlocal most
        assert source._windows
        most = max(most, sum(part.size for part in list(source._windows._parts._kept.values())))
        return read_part(*arguments)

    monkeypatch.setattr(parts, "read_part", look)
    with closing(LookAhead(source, 16)) as ahead:
        assert len(list(ahead.read(cut(path)))) == 40  # type: ignore[arg-type]
    assert size < most <= 3 * size


def test_a_part_larger_than_all_room_is_read_alone(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(128, 128), tile=64)
    grid = Grid(64, 40)
    source = ImageSource(DecodeSettings(48, "bilinear", MOST, SHOWN), Limits(), 2, Budget(1000, MOST), grid)
    with closing(LookAhead(source, 16)) as ahead:
        assert len(list(ahead.read(cut(path, grid)))) == 9  # type: ignore[arg-type]
