"""How many processes share the images of a local run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.archives.members import IN_STREAM
from pipelines.commandline.flags import parse_predict
from pipelines.commandline.parser import UsageError
from pipelines.images.rendering import NO_RENDERING
from pipelines.inference import engines
from pipelines.inference.ahead import Model
from pipelines.inference.bundle import Bundle
from pipelines.job.pipeline import TagImages
from pipelines.listing.scenes import CutSettings
from pipelines.output.run import Run
from pipelines.records import ImageRef, Span
from pipelines.runners import sharing
from pipelines.runners.sharing import most_processes, share_threads
from pipelines.runners.waves import Waves
from pipelines.scenes.grid import NO_GRID

TENSORFLOW = ["--engine=tensorflow"]
WHOLE = CutSettings(NO_GRID, NO_RENDERING, 10_000)


@pytest.mark.parametrize(
    ("most", "images", "archives", "count"),
    [
        (1, 10_000, 0, 1),
        (2, 10_000, 0, 2),
        (8, 100_000, 0, 8),
        # So few that they would be tagged before the processes have started.
        (8, 100, 0, 1),
        (8, 4_500, 0, 2),
        # What one process alone can read.
        (8, 100_000, 1, 1),
        (8, 100_000, 3, 3),
    ],
)
def test_as_many_processes_are_started_as_are_worth_it(
    most: int, images: int, archives: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_IMAGES", 20)
    places = [
        Span(f"{number % archives}.tar.gz", number, 1, IN_STREAM) if archives else None
        for number in range(images // 100)
    ]
    refs = [ImageRef(f"{number}.jpg", 1, "print", place) for number, place in enumerate(places)]
    options = parse_predict(["--input=in", "--model=model", "--output=out", "--threads=64"])
    assert len(share_threads(most, options, Waves(refs, 1000, WHOLE))) == count


@pytest.mark.parametrize(
    ("flags", "precision", "is_int8", "shares"),
    [
        ([], "float32", False, [8, 8]),
        ([], "bfloat16", False, [4, 4, 4, 4]),
        ([], "float32", True, [4, 4, 4, 4]),
        (["--threads=9"], "float32", False, [9]),
        (["--processes=1"], "bfloat16", False, [16]),
        (["--processes=3"], "float32", False, [6, 5, 5]),
        (["--processes=32"], "float32", False, [1] * 32),
        (["--engine=tensorflow"], "float32", False, [16]),
        (["--isolate_decoding"], "float32", False, [16]),
    ],
)
def test_threads_are_shared_by_what_a_process_keeps_busy(
    flags: list[str],
    precision: str,
    is_int8: bool,
    shares: list[int],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "available_cores", lambda: 16)
    monkeypatch.setattr(sharing, "_IMAGES", 1)
    monkeypatch.setattr(Bundle, "is_int8", is_int8)
    options = parse_predict(["--input=in", "--model=model", "--output=out", *flags])
    tagging = TagImages(replace(run, precision=precision), Model("model", "digest"), options.limits)

    waves = Waves([ImageRef(f"{number}.jpg", 1, "print") for number in range(200)], 1000, WHOLE)

    assert share_threads(most_processes(tagging, options), options, waves) == shares


@pytest.mark.parametrize(("flags", "count"), [([], 1), (["--processes=2"], 2), (["--processes=2", *TENSORFLOW], 2)])
def test_several_processes_share_a_gpu_only_if_asked(
    flags: list[str], count: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (engines, sharing):
        monkeypatch.setattr(module, "tensorflow_has_gpu", lambda: True)
    monkeypatch.setattr(sharing, "available_cores", lambda: 64)
    monkeypatch.setattr(Bundle, "is_int8", False)
    options = parse_predict(["--input=in", "--model=model", "--output=out", *flags])
    assert most_processes(TagImages(run, Model("model", "digest")), options) == count


def test_without_a_gpu_tensorflow_runs_in_one_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "tensorflow_has_gpu", lambda: False)
    options = parse_predict(["--input=in", "--model=model", "--output=out", "--processes=2", *TENSORFLOW])
    with pytest.raises(UsageError, match="--processes 2: without a GPU, TensorFlow keeps all cores busy"):
        most_processes(TagImages(run, Model("model", "digest")), options)
