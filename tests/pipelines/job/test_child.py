"""A child process that cannot start, dies, hangs or fails: one line, nothing lost, and no process left behind."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from contextlib import closing
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import pytest

from pipelines.errors import ScenetagsError
from pipelines.inference.bundle import BundleError
from pipelines.job import predictor_process, processes
from pipelines.job.child import PROGRAM, Child, ProcessDiedError
from pipelines.job.predictor_process import Settings
from pipelines.job.processes import PredictInProcesses, Processes
from pipelines.records import Prediction
from pipelines.supervision import interruption
from pipelines.supervision.interruption import InterruptedRunError
from pipelines.supervision.watchdog import Trace
from tests import ROOT
from tests.image_files import write_chips
from tests.pipelines.images.faults import faulty
from tests.pipelines.job.children import everything, listed


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


def of_another_bundle(settings: Settings) -> Settings:
    replaced = replace(settings.predicting, model=replace(settings.predicting.model, digest="another"))
    return settings._replace(predicting=replaced)


@pytest.mark.parametrize("sent", [False, True], ids=["before the first message", "after it"])
def test_a_child_whose_parent_hangs_up_has_nothing_to_say(settings: Settings, sent: bool) -> None:
    here, there = Pipe()
    with closing(Trace()) as trace, there:
        inherited = [there.fileno(), trace.descriptor]
        command = [sys.executable, "-c", f"from {PROGRAM} import main; main()", *map(str, [*inherited, os.getpid()])]
        child = subprocess.Popen(command, pass_fds=inherited, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    if sent:
        here.send(of_another_bundle(settings))
    here.close()
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (0, "")


def test_an_error_of_a_child_ends_the_run_as_it_would_here(settings: Settings, tmp_path: Path) -> None:
    write_chips(tmp_path, ["0.jpg"])
    replaced = of_another_bundle(settings)
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
