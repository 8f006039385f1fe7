"""How many processes share the images of a local run."""

from __future__ import annotations

import pytest

from pipelines.archives.members import IN_STREAM
from pipelines.images.rendering import NO_RENDERING
from pipelines.listing.scenes import CutSettings
from pipelines.records import ImageRef, Span
from pipelines.runners import sharing
from pipelines.runners.sharing import count_processes
from pipelines.runners.waves import Waves
from pipelines.scenes.grid import NO_GRID


@pytest.mark.parametrize(
    ("cores", "images", "archives", "count"),
    [
        (2, 10_000, 0, 1),
        (15, 10_000, 0, 1),
        (16, 10_000, 0, 2),
        (64, 100_000, 0, 8),
        # So few that they would be tagged before the processes have started.
        (64, 16, 0, 1),
        (64, 4_500, 0, 2),
        # What one process alone can read.
        (64, 100_000, 1, 1),
        (64, 100_000, 3, 3),
    ],
)
def test_as_many_processes_are_started_as_are_worth_it(
    cores: int, images: int, archives: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_IMAGES", 20)
    places = [
        Span(f"{number % archives}.tar.gz", number, 1, IN_STREAM) if archives else None
        for number in range(images // 100)
    ]
    refs = [ImageRef(f"{number}.jpg", 1, "print", place) for number, place in enumerate(places)]
    assert count_processes(cores, Waves(refs, 1000, CutSettings(NO_GRID, NO_RENDERING, 1000))) == count
