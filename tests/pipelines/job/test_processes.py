"""Processes that share the images of a local run: the rows of one process, in its order, and no child left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines import predict
from pipelines.archives.members import IN_STREAM
from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.inference.ahead import Model
from pipelines.job import processes
from pipelines.job.child import Child, Chunk
from pipelines.job.predicting import PredictSettings
from pipelines.job.predictor_process import Answer, Settings
from pipelines.job.processes import PredictInProcesses, Processes, share_out
from pipelines.reading.ahead import PredictAhead
from pipelines.reading.source import ImageSource, stream_of
from pipelines.records import Empty, Failure, ImageRef, Span, Window
from tests import ROOT
from tests.image_files import write_chips
from tests.outputs import rows
from tests.pipelines.images.faults import faulty, is_alive
from tests.pipelines.job.children import Results, everything, listed
from tests.pipelines.predict.predicting import without


def plain(items: Results) -> list[Any]:
    """Give the fields of results, of which arrays cannot be compared at once."""
    fields = [item._asdict() for item in items]
    return [{**of, "probabilities": of["probabilities"].tobytes()} if "probabilities" in of else of for of in fields]


def test_children_give_what_one_process_gives_in_its_order(two: Processes, settings: Settings, tmp_path: Path) -> None:
    write_chips(tmp_path / "chips", [f"{number:03}.jpg" for number in range(100)])
    for number in (3, 40, 41):
        (tmp_path / f"chips/{number:03}.jpg").write_bytes(b"no image")
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "chips", "more")
    refs = listed(tmp_path / "chips", tmp_path / "more.tar.gz")
    (tmp_path / "chips/099.jpg").unlink()
    source = ImageSource(settings.predicting.decoding, Limits(), 1)

    here = everything(PredictAhead(source, 4, settings.predicting.model.load()), refs)
    there = everything(PredictInProcesses(two), refs)

    assert plain(there) == plain(here)
    assert sum(isinstance(item, Failure) for item in here) == 7
    assert [child.images for child in two._children] == [0, 0]


IN_BATCHES = """
import pipelines.inference.litert_engine, pipelines.reading.ahead
pipelines.inference.litert_engine.LiteRTEngine.takes_batches = True
pipelines.reading.ahead.PredictAhead.__init__ = None
"""


def test_children_that_predict_in_batches_keep_none_of_their_images(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chips(tmp_path / "chips", [f"{number:03}.jpg" for number in range(100)])
    for number in (3, 40, 41):
        (tmp_path / f"chips/{number:03}.jpg").write_bytes(b"no image")
    refs = listed(tmp_path / "chips")
    here = everything(
        PredictAhead(ImageSource(settings.predicting.decoding, Limits(), 1), 4, settings.predicting.model.load()), refs
    )
    (tmp_path / "sitecustomize.py").write_text(IN_BATCHES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    in_batches = replace(settings.predicting, model=replace(settings.predicting.model, batch_size=7))

    with closing(Processes(settings._replace(predicting=in_batches), (1, 1))) as children:
        there = everything(PredictInProcesses(children), refs)

    def by_path(item: Any) -> str:
        return str(item.get("path") or item["ref"].path)

    assert sorted(plain(there), key=by_path) == sorted(plain(here), key=by_path)


class FakeChild:
    """A child that answers when it is told to."""

    def __init__(self) -> None:
        self.images = 0
        self.chunks: list[Chunk] = []
        self.seen: list[ImageRef] = []

    def work_on(self, chunk: Chunk) -> None:
        self.images += len(chunk.refs)
        self.seen += chunk.refs
        chunk.answer.set_result(Answer([Empty(ref) for ref in chunk.refs], 0))


ARCHIVES, PARTS = st.sampled_from(["a.tar.gz", "b.tar.gz"]), st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2))


def ref_at(number: int, place: str | tuple[str, int] | None) -> ImageRef:
    ref = ImageRef(f"{number}.jpg", 1, "print")
    if isinstance(place, str):
        return ref._replace(place=Span(place, number, 1, IN_STREAM))
    return ref._replace(window=Window(place[0], 0, 0, 1, 1, place[1], 9, 9, 1)) if place else ref


@given(st.lists(st.none() | ARCHIVES | PARTS, min_size=20, max_size=100), st.integers(1, 4))
@hypothesis_settings(max_examples=30)
def test_results_come_in_order_and_what_is_read_together_goes_to_one_child(
    places: list[str | tuple[str, int] | None], count: int
) -> None:
    refs = [ref_at(number, place) for number, place in enumerate(places)]
    settings = PredictSettings(Model("b", "d"), DecodeSettings(1, "box"), reads_in_flight=1)
    children = Processes(Settings(settings, count), [1] * count)
    fakes = [FakeChild() for _ in range(count)]
    children._children[:] = fakes  # type: ignore[assignment]
    children.most = 10

    with patch.object(processes, "_AT_ONCE", 4):
        items = everything(PredictInProcesses(children), refs)

    assert items == [Empty(ref) for ref in refs]
    for stream in {stream_of(ref) for ref in refs} - {None}:
        read = [[ref for ref in fake.seen if stream_of(ref) == stream] for fake in fakes]
        assert [of_child for of_child in read if of_child] == [[ref for ref in refs if stream_of(ref) == stream]]


def test_processes_end_with_the_run_that_started_them(bundle_path: str, tmp_path: Path, faults: Path) -> None:
    (faults / "hanging").unlink(missing_ok=True)
    (tmp_path / "hangs.jpg").write_bytes(faulty(b"HANG"))
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "pipelines.predict", f"--input={tmp_path}", f"--model={bundle_path}"),
            *(f"--output={tmp_path / 'out'}", "--processes=2"),
        ],
        env={**os.environ, "PYTHONPATH": f"{faults}:{ROOT}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (faults / "hanging").exists():
        assert run.poll() is None
        time.sleep(0.02)
    children = [int(child) for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    children += [int(path.name) for path in Path("/proc").glob("[0-9]*") if parent_of(path) == run.pid]
    run.kill()
    _, said = run.communicate(timeout=60)

    assert len(set(children)) >= 2
    deadline = time.monotonic() + 20
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline, "a child is left behind"
        time.sleep(0.01)
    assert said.startswith("scenetags: the run was killed (out of memory?); committed rows are safe in"), said


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def test_the_command_gives_the_same_rows_in_waves_whose_children_stay(
    bundle_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chips(tmp_path / "chips", [f"{number:02}.jpg" for number in range(12)])
    (tmp_path / "chips/07.jpg").write_bytes(b"")
    spawned: list[int] = []
    spawn = Child._spawn

    def counted(child: Child, descriptor: int) -> subprocess.Popen[bytes]:
        started = spawn(child, descriptor)
        spawned.append(started.pid)
        return started

    monkeypatch.setattr(Child, "_spawn", counted)
    for count in ("1", "2"):
        named = {"input": tmp_path / "chips", "model": bundle_path, "output": tmp_path / count, "processes": count}
        flags = [f"--{name}={value}" for name, value in named.items()]
        assert predict.main([*flags, "--progress=off", "--max_failure_rate=1", "--checkpoint_every=6"]) == 0

    for table in ("predictions", "failures"):
        one, several = ([without(row, "run") for row in rows(tmp_path / count, table)] for count in ("1", "2"))
        assert several == one
        assert one
    assert len(spawned) == 2
    assert not any(map(is_alive, spawned))


def test_threads_are_shared_out_evenly() -> None:
    assert [share_out(*shares) for shares in ((16, 2), (7, 2), (3, 3), (5, 1))] == [[8, 8], [4, 3], [1, 1, 1], [5]]
