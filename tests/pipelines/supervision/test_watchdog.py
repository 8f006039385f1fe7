"""What is said of a run that ends without a word."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from pipelines.supervision import interruption, watchdog
from pipelines.supervision.watchdog import Notes, explain, noted, watching
from tests import ROOT
from tests.image_files import encode, picture
from tests.pipelines.images.faults import FAULTS
from tests.pipelines.waiting import wait_for

FAULT = b"Fatal Python error: Segmentation fault\n\nCurrent thread 0x%016x (most recent call first):\n  File x\n"


@pytest.fixture
def shared() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


def read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def test_after_a_goodbye_nothing_is_said(shared: IO[bytes]) -> None:
    with Notes(shared).note("/chips/a.jpg"):
        assert explain([b"goodbye\n"], read(shared), "/out") == ""


def test_a_killed_run_names_what_it_decoded(shared: IO[bytes]) -> None:
    notes = Notes(shared)
    with notes.note("/chips/done.jpg"):
        pass
    with notes.note("/chips/c.jpg"), notes.note("/chips/b.jpg"):
        told = explain([], read(shared), "/out")
    assert told == (
        'scenetags: the run was killed (out of memory?) while decoding "/chips/b.jpg", "/chips/c.jpg"; '
        "committed rows are safe in /out; run the same command again to resume"
    )


def test_lack_of_memory_is_suspected_of_no_signal_but_the_one_that_it_causes() -> None:
    trace = watchdog.Trace()
    explained = [trace.explain(number)[0] for number in (signal.SIGKILL, signal.SIGXCPU, signal.SIGRTMIN + 3)]
    trace.close()
    assert [happened.removesuffix(" while no image was being decoded") for happened in explained] == [
        "was killed (out of memory?)",
        "was ended by SIGXCPU",
        f"was ended by signal {signal.SIGRTMIN + 3}",
    ]


def test_a_run_whose_time_is_limited_may_have_been_killed_for_that(
    shared: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3600, 3600))
    told = explain([], read(shared), "/out")
    assert told.startswith("scenetags: the run was killed (out of memory, or of time on the processor?) while no image")


def test_a_crash_names_the_image_of_its_thread(shared: IO[bytes]) -> None:
    notes, thread = Notes(shared), threading.get_ident()

    with notes.note("/chips/b.jpg"), ThreadPoolExecutor(1) as other:
        other.submit(notes.note("/chips/a.jpg").__enter__).result()
        at_work = read(shared)

    assert explain((FAULT % thread).splitlines(keepends=True), at_work, "/out") == (
        'scenetags: the run crashed (Segmentation fault) while decoding "/chips/b.jpg"; committed rows are safe in '
        "/out; run the same command again to resume; with --isolate_decoding, a crash fails only the image that "
        "causes it"
    )
    unknown = explain((FAULT % 1).splitlines(keepends=True), at_work, "/out")
    assert "while no image was being decoded; committed" in unknown


def test_notes_that_find_no_room_cost_nothing_but_themselves(shared: IO[bytes]) -> None:
    notes = Notes(shared)
    with ExitStack() as at_work:
        for number in range(300):
            at_work.enter_context(notes.note(f"{number}" * 1000))
    assert explain([], read(shared), "/out").count("while no image was being decoded") == 1


CHILDREN = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")


def test_a_watchdog_that_is_stopped_keeps_no_finished_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_SECONDS_TO_LEAVE", 0.1)
    before = set(CHILDREN.read_text().split())
    began = time.monotonic()
    with watching("/out", "text", pytest.fail):
        [child] = set(CHILDREN.read_text().split()) - before
        os.kill(int(child), signal.SIGSTOP)
    assert time.monotonic() - began < 10
    assert not Path(f"/proc/{child}").exists(), "the watchdog is left behind"


def test_a_signal_to_all_processes_of_a_job_ends_no_watchdog() -> None:
    before = set(CHILDREN.read_text().split())
    with watching("/out", "text", pytest.fail):
        [child] = set(CHILDREN.read_text().split()) - before
        for number in (*interruption.SIGNALS, *interruption.MORE_SIGNALS):
            os.kill(int(child), number)
        time.sleep(0.1)
        assert Path(f"/proc/{child}/status").read_text().find("(zombie)") < 0, "the watchdog is dead"


def test_a_dead_watchdog_does_not_end_the_run() -> None:
    # Other tests' servers may be among them.
    before = set(CHILDREN.read_text().split())
    with watching("/out", "text", pytest.fail):
        [child] = set(CHILDREN.read_text().split()) - before
        os.kill(int(child), signal.SIGKILL)
        wait_for(lambda: "(zombie)" in Path(f"/proc/{child}/status").read_text())
        done = 0
        for _ in range(5):
            with noted("a.jpg"):
                done += 1
        assert done == 5, "work stopped with the watchdog"
        assert Path(f"/proc/{child}/status").read_text().find("(zombie)") > 0, "the watchdog lives"


def test_a_run_that_may_have_no_watchdog_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    warned: list[str] = []
    with watching("/out", "text", warned.append), noted("a.jpg"):
        pass
    assert warned == [
        "scenetags: cannot start the process that explains a crash of this run (Resource temporarily unavailable)"
    ]


@pytest.mark.parametrize("end", ["crash", "kill"])
def test_a_run_that_ends_in_the_middle_is_explained_in_a_line(end: str, tmp_path: Path, bundle_path: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULTS)
    (tmp_path / "chips").mkdir()
    for number in range(3):
        (tmp_path / f"chips/{number}.png").write_bytes(encode(picture(seed=number), "png"))
    guilty = tmp_path / "chips/guilty\n.jpg"
    guilty.write_bytes(encode(picture(), "jpeg") + (b"CRASH" if end == "crash" else b"HANG"))
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "pipelines.predict", f"--input={tmp_path / 'chips'}", f"--model={bundle_path}"),
            *(f"--output={tmp_path / 'out'}", "--progress=off", f"--log_format={'json' if end == 'kill' else 'text'}"),
        ],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "HANGING": str(tmp_path / "hanging")},
        stderr=subprocess.PIPE,
        text=True,
    )
    if end == "kill":
        deadline = time.monotonic() + 60
        while not (tmp_path / "hanging").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.kill()
    _, printed = run.communicate(timeout=60)

    assert run.returncode == (-signal.SIGSEGV if end == "crash" else -signal.SIGKILL)
    [line] = printed.splitlines()
    if end == "kill":
        logged = json.loads(line)
        assert logged["severity"] == "ERROR"
        line = logged["message"]
    assert ("crashed (Segmentation fault)" if end == "crash" else "was killed") in line
    assert 'guilty\\n.jpg"; committed rows are safe in' in line
