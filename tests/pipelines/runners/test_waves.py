"""How the listing of a local run becomes waves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pipelines.images.rendering import NO_RENDERING
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings
from pipelines.records import ImageRef
from pipelines.runners.waves import Waves
from pipelines.scenes.grid import NO_GRID, Grid
from tests.scene_files import samples, write_scene

WHOLE, CUT = CutSettings(NO_GRID, NO_RENDERING, 10_000), CutSettings(Grid(32, 32), NO_RENDERING, 10_000)


def taken(waves: Waves) -> Iterator[tuple[list[str], bool]]:
    """Take all waves: the last parts of their names, and whether each is the last one."""
    while waves:
        names, is_last = waves.take()
        yield [Path(item.path).name for item in names], is_last


def scenes(folder: Path, number: int) -> list[ImageRef]:
    """Write scenes of four windows each."""
    data = write_scene(folder / "0.tif", samples(64, 64, 3, "uint8"), photometric="RGB").read_bytes()
    paths = [folder / f"{name}.tif" for name in range(number)]
    for path in paths:
        path.write_bytes(data)
    return [ref for path in paths if isinstance(ref := refer(str(path)), ImageRef)]


def test_a_listing_is_taken_in_order_and_what_was_put_back_comes_first() -> None:
    waves = Waves([ImageRef(f"{number}.jpg", 1, "print") for number in range(5)], 2, WHOLE)
    first, _ = waves.take()
    waves.put_back(first)

    assert list(taken(waves)) == [(["0.jpg", "1.jpg"], False), (["2.jpg", "3.jpg"], False), (["4.jpg"], True)]


def test_a_run_of_nothing_has_one_wave_of_nothing() -> None:
    for cutting in (WHOLE, CUT):
        assert list(taken(Waves([], 2, cutting))) == [([], True)]


def test_waves_have_as_many_windows_as_images_whatever_scenes_they_are_of(tmp_path: Path) -> None:
    waves = Waves(scenes(tmp_path, 2), 3, CUT)

    found = list(taken(waves))

    assert [(len(names), is_last) for names, is_last in found] == [(3, False), (3, False), (2, True)]
    assert len({name for names, _ in found for name in names}) == 8
    assert waves.expected == 8


def test_how_many_windows_there_will_be_is_estimated_from_the_scenes_that_were_cut(tmp_path: Path) -> None:
    with closing(Waves(scenes(tmp_path, 40), 68, CUT)) as waves:
        # Others are open, too, but not cut yet.
        assert waves.expected == 160


def test_waves_that_are_closed_leave_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with closing(Waves(scenes(tmp_path, 20), 1, CUT)):
        assert set(threading.enumerate()) - before
    assert not set(threading.enumerate()) - before
