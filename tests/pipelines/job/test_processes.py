"""Processes that share the images of a local run: the rows of one process, in its order, and no child left behind."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import closing
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines import predict
from pipelines.archives.members import IN_STREAM
from pipelines.errors import ScenetagsError
from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.inference.ahead import Model
from pipelines.inference.bundle import BundleError, load_bundle
from pipelines.job import predictor_process, processes
from pipelines.job.child import PROGRAM, Child, Chunk, ProcessDiedError
from pipelines.job.predictor_process import Answer, Settings
from pipelines.job.processes import PredictInProcesses, Processes, share_out
from pipelines.listing import list_images
from pipelines.reading.ahead import PredictAhead
from pipelines.reading.source import ImageSource, stream_of
from pipelines.records import Empty, Failure, ImageRef, Prediction, Span, Window
from pipelines.storage import Access
from pipelines.supervision import interruption
from pipelines.supervision.interruption import InterruptedRunError
from pipelines.supervision.watchdog import Trace
from tests import ROOT
from tests.image_files import write_chips
from tests.outputs import rows
from tests.pipelines.images.faults import FAULTS, faulty, is_alive
from tests.pipelines.predict.predicting import without

Results = list[Prediction | Failure | Empty]


@pytest.fixture(scope="module")
def settings(bundle_path: str) -> Settings:
    bundle = load_bundle(bundle_path)
    decoding = DecodeSettings(bundle.image_size, bundle.resize_filter)
    return Settings(decoding, Limits(), Model(bundle.path, bundle.digest), Access(), 4, 2)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the children of this module's processes the faults of bad native libraries."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "sitecustomize.py").write_text(FAULTS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setenv("HANGING", str(folder / "hanging"))
        yield folder


@pytest.fixture
def two(settings: Settings, faults: Path) -> Iterator[Processes]:
    with closing(Processes(settings, (1, 1))) as children:
        yield children


def listed(*inputs: Path) -> list[ImageRef]:
    return [ref for ref in list_images([str(path) for path in inputs]) if isinstance(ref, ImageRef)]


def everything(ahead: PredictInProcesses | PredictAhead, refs: Sequence[ImageRef]) -> Results:
    with closing(ahead):
        return [item for ref in refs for item in ahead.put(ref)] + list(ahead.drain())


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
    source = ImageSource(settings.decoding, settings.limits, 1)

    here = everything(PredictAhead(source, 4, settings.model.load()), refs)
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
    here = everything(PredictAhead(ImageSource(settings.decoding, settings.limits, 1), 4, settings.model.load()), refs)
    (tmp_path / "sitecustomize.py").write_text(IN_BATCHES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with closing(Processes(settings._replace(model=replace(settings.model, batch_size=7)), (1, 1))) as children:
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
    children = Processes(Settings(DecodeSettings(1, "box"), Limits(), Model("b", "d"), Access(), 1, count), [1] * count)
    fakes = [FakeChild() for _ in range(count)]
    children._children[:] = fakes  # type: ignore[assignment]
    children.most = 10

    with patch.object(processes, "_AT_ONCE", 4):
        items = everything(PredictInProcesses(children), refs)

    assert items == [Empty(ref) for ref in refs]
    for stream in {stream_of(ref) for ref in refs} - {None}:
        read = [[ref for ref in fake.seen if stream_of(ref) == stream] for fake in fakes]
        assert [of_child for of_child in read if of_child] == [[ref for ref in refs if stream_of(ref) == stream]]


def test_a_crash_names_the_image_and_ends_the_run(settings: Settings, faults: Path, tmp_path: Path) -> None:
    write_chips(tmp_path, [f"{number}.jpg" for number in range(3)])
    (tmp_path / "guilty.jpg").write_bytes(faulty(b"CRASH"))
    with closing(Processes(settings, (1,))) as children:
        with pytest.raises(ProcessDiedError) as died:
            everything(PredictInProcesses(children), listed(tmp_path))
        # Whoever comes later hears of it, too.
        with pytest.raises(ProcessDiedError):
            everything(PredictInProcesses(children), listed(tmp_path))

    message = str(died.value)
    assert f'crashed (Segmentation fault) while decoding "{tmp_path}/guilty.jpg"; with --isolate_decoding' in message


def test_what_hangs_is_abandoned_and_a_killed_child_names_it(
    settings: Settings, faults: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chips(tmp_path, ["0.jpg"])
    (tmp_path / "hangs.jpg").write_bytes(faulty(b"HANG"))
    # A child has so much less than the run: it can answer before the run gives it up.
    monkeypatch.setattr(processes, "_SECONDS_TO_ANSWER", interruption.SECONDS_TO_FINISH - 0.1)
    with closing(Processes(settings, (2,))) as children, interruption.deferred():
        ahead = PredictInProcesses(children)
        for ref in listed(tmp_path):
            assert list(ahead.put(ref)) == []
        ahead._send()
        [child] = children._children
        end = time.monotonic() + 5
        while not ((faults / "hanging").exists() and b"/0.jpg" in os.pread(child._trace.descriptor, 1 << 18, 0)):
            # One thread may have taken both: then the trace names the second one in its place, and the first is done.
            if time.monotonic() > end and (faults / "hanging").exists():
                break
            time.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)
        [done] = ahead.drain()

        assert isinstance(done, Prediction)
        assert done.ref.path.endswith("0.jpg")
        assert ahead.postponed == 1
        child._process.kill()
        child._receiver.join()
        assert f'was killed (out of memory?) while decoding "{tmp_path}/hangs.jpg"' in str(child._death)


def test_a_process_that_has_used_up_its_time_stops_the_run_and_loses_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    write_chips(tmp_path, ["0.jpg", "1.jpg"])
    with closing(Processes(settings, (1,))) as children, interruption.deferred(), interruption.more_deferred():
        ahead = PredictInProcesses(children)
        for ref in listed(tmp_path):
            assert list(ahead.put(ref)) == []
        ahead._send()
        [child] = children._children
        wait((ahead._queue[0].answer,), 60)
        # Again for each second that it uses beyond that.
        for _ in range(3):
            child._process.send_signal(signal.SIGXCPU)
            time.sleep(0.1)
        deadline = time.monotonic() + 20
        while not interruption.asked():
            assert time.monotonic() < deadline, "the run does not know"
            time.sleep(0.01)

        assert len(list(ahead.drain())) == 2
        assert child._process.poll() is None
        with pytest.raises(InterruptedRunError, match="interrupted by SIGXCPU"):
            interruption.check()


def test_a_process_that_a_signal_has_ended_names_it(two: Processes) -> None:
    child = two.choose(None)
    child._process.send_signal(signal.SIGALRM)
    child._receiver.join()
    assert f"process {child._process.pid} of the run was ended by SIGALRM" in str(child._death)


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


def test_a_child_that_cannot_be_started_is_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with closing(Processes(settings, (1, 1))) as children, pytest.raises(ProcessDiedError) as refused:
        children.choose(None)
    assert str(refused.value) == (
        "the system refuses to start another process (Resource temporarily unavailable); lower --processes"
    )


@pytest.mark.parametrize("refused", ["names", "predictions"])
def test_a_child_for_which_there_are_no_threads_is_not_left_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    start, spawn, spawned = threading.Thread.start, Child._spawn, list[subprocess.Popen[bytes]]()

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(refused):
            raise RuntimeError("can't start new thread")
        start(thread)

    def noted(child: Child, descriptor: int) -> subprocess.Popen[bytes]:
        spawned.append(spawn(child, descriptor))
        return spawned[-1]

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(Child, "_spawn", noted)
    with closing(Processes(settings, (1,))) as children, pytest.raises(RuntimeError, match="can't start new thread"):
        children.choose(None)
    assert [process.returncode for process in spawned] == [-signal.SIGKILL]


@pytest.mark.parametrize("sent", [False, True], ids=["before the first message", "after it"])
def test_a_child_whose_parent_hangs_up_has_nothing_to_say(settings: Settings, sent: bool) -> None:
    here, there = Pipe()
    with closing(Trace()) as trace, there:
        inherited = [there.fileno(), trace.descriptor]
        command = [sys.executable, "-c", f"from {PROGRAM} import main; main()", *map(str, [*inherited, os.getpid()])]
        child = subprocess.Popen(command, pass_fds=inherited, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    if sent:
        here.send(settings._replace(model=Model(settings.model.path, "another")))
    here.close()
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (0, "")


def test_an_error_of_a_child_ends_the_run_as_it_would_here(settings: Settings, tmp_path: Path) -> None:
    write_chips(tmp_path, ["0.jpg"])
    replaced = settings._replace(model=Model(settings.model.path, "another"))
    with closing(Processes(replaced, (1,))) as children, pytest.raises(BundleError) as refused:
        everything(PredictInProcesses(children), listed(tmp_path))
    assert str(refused.value).endswith("was replaced after the job was started")


class PickyError(ScenetagsError):
    def __init__(self, one: int, two: int, three: int) -> None:
        super().__init__("picky", "do")


@pytest.mark.parametrize("error", [BundleError("what", "do this"), InterruptedRunError(2), PickyError(1, 2, 3)])
def test_any_error_of_a_child_can_be_sent_with_where_it_was_raised(error: Exception) -> None:
    here, there = Pipe()
    predictor_process._send_error(there, error)
    sent = here.recv()
    known = isinstance(error, BundleError)
    assert type(sent) is (BundleError if known else RuntimeError)
    assert str(sent) == "what; do this" if known else re.search(type(error).__name__, str(sent))
    assert sent.__notes__ if known else True


def test_threads_are_shared_out_evenly() -> None:
    assert [share_out(*shares) for shares in ((16, 2), (7, 2), (3, 3), (5, 1))] == [[8, 8], [4, 3], [1, 1, 1], [5]]
