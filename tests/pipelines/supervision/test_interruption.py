"""Runs that are told to stop, killed, or started twice: real processes, real signals."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines import predict
from pipelines.supervision import interruption
from pipelines.supervision.interruption import InterruptedRunError
from tests import ROOT
from tests.image_files import encode, picture, unmarked_rgba_jpeg
from tests.outputs import rows
from tests.pipelines.images.faults import FAULTS

CHIPS = 500
WAVE = 50
IN_ONE_WAVE = [f"--checkpoint_every={CHIPS}"]

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def flags(tmp_path: Path, bundle_path: str) -> list[str]:
    """Fill a folder with as many images as take many waves, and name it and the output."""
    folder = tmp_path / "chips"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(unmarked_rgba_jpeg(picture()))
    for number in range(1, CHIPS):
        os.link(folder / "0.jpg", folder / f"{number}.jpg")
    named = {"input": folder, "model": bundle_path, "output": tmp_path / "out", "checkpoint_every": WAVE}
    return [f"--{name}={value}" for name, value in named.items()]


@pytest.fixture
def start(flags: list[str]) -> Iterator[Start]:
    """Start the command in a process of its own, which does not outlive the test."""
    started = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipelines.predict", *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def tagged(output: Path) -> list[str]:
    return [row["path"] for row in rows(output)]


def wait_for_a_wave(output: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a run has committed its first wave; many follow it."""
    while not (output / "runs").exists():
        assert process.poll() is None, f"the run ended before its first commit: {process.communicate()}"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_commits_what_is_finished_and_the_same_command_resumes(
    start: Start,
    flags: list[str],
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    run = start()
    wait_for_a_wave(output, run)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)

    assert run.returncode == code, said
    assert f"scenetags predict: interrupted by {number.name}; " in said
    assert "Traceback" not in said
    done = tagged(output)
    assert 0 < len(done) < CHIPS
    assert f"{len(done):,} images are committed to {output}; run the same command again to resume" in said
    assert sorted(os.listdir(output)) == ["failures", "predictions", "runs"]

    assert predict.main([*flags, *IN_ONE_WAVE]) == 0
    assert f"{len(done):,} skipped as already tagged" in capsys.readouterr().out
    assert tagged(output) == sorted(f"{tmp_path}/chips/{number}.jpg" for number in range(CHIPS))


@pytest.fixture
def hangup() -> Iterator[None]:
    """Let the terminal's signal kill, as it does unless somebody says otherwise."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [*interruption.SIGNALS, *interruption.MORE_SIGNALS])
def test_terminals_and_schedulers_may_ask_to_stop_as_well(number: signal.Signals, hangup: None) -> None:
    with interruption.deferred(), interruption.more_deferred():
        interruption.check()
        signal.raise_signal(number)
        assert interruption.asked()
        assert not interruption.overdue()
        with pytest.raises(InterruptedRunError, match=f"interrupted by {number.name}") as interrupted:
            interruption.check()
    assert interrupted.value.exit_code == 128 + number


def test_a_quit_signal_is_an_order_that_the_watchdog_does_not_take_for_a_crash() -> None:
    run = """if True:
        import signal
        from pipelines.supervision import interruption, watchdog
        with interruption.deferred(), interruption.more_deferred(), watchdog.watching("/out", "text", print):
            signal.raise_signal(signal.SIGQUIT)
    """
    quit = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False, timeout=60)

    assert (quit.returncode, quit.stdout, quit.stderr) == (131, "", "")


def test_a_limit_of_time_that_the_system_repeats_is_no_order_to_quit() -> None:
    run = """if True:
        import signal
        from pipelines.supervision import interruption
        with interruption.deferred(print), interruption.more_deferred():
            for _ in range(3):
                signal.raise_signal(signal.SIGXCPU)
            print(interruption.received()[0])
    """
    stopped = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False, timeout=60)

    assert stopped.returncode == 0
    assert stopped.stdout.splitlines()[1:] == [str(int(signal.SIGXCPU))]


def test_a_signal_that_is_ignored_stays_so(hangup: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruption.deferred(), interruption.more_deferred():
        signal.raise_signal(signal.SIGHUP)
        assert not interruption.asked()


def test_a_second_run_into_the_same_output_is_refused(
    start: Start, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start()
    wait_for_a_wave(tmp_path / "out", first)
    # However slow this process is, the first run is not over.
    first.send_signal(signal.SIGSTOP)
    assert predict.main(flags) == 2
    said = capsys.readouterr().err

    assert first.poll() is None, "the first run was over too soon to prove anything"
    assert f"process {first.pid} on " in said, said
    assert "is in use" in said, said


def test_the_lock_of_a_killed_run_blocks_nobody(start: Start, flags: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    killed = start()
    wait_for_a_wave(output, killed)
    killed.kill()
    killed.communicate()
    assert (output / "_lock").exists(), "the run was killed without its lock, which proves nothing"

    assert predict.main([*flags, *IN_ONE_WAVE]) == 0
    assert len(tagged(output)) == CHIPS
    assert sorted(os.listdir(output)) == ["failures", "predictions", "runs"]


def test_a_second_signal_ends_a_run_that_does_not_come_to_the_first(
    tmp_path: Path, bundle_path: str, in_time: None
) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULTS)
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/hangs.jpg").write_bytes(encode(picture(), "jpeg") + b"HANG")
    flags = [f"--input={tmp_path / 'chips'}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}"]
    run = subprocess.Popen(
        [sys.executable, "-m", "pipelines.predict", *flags],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "HANGING": str(tmp_path / "hanging")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (tmp_path / "hanging").exists():
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        # The run has met the first signal once it says so; the image that hangs lets it come no further.
        assert run.stderr
        said = run.stderr.readline().strip() or run.stderr.readline().strip()
        run.send_signal(signal.SIGTERM)
        _, more = run.communicate()
    finally:
        run.kill()

    assert run.returncode == 143
    assert said == "scenetags: finishing what is in progress; press Ctrl-C again to quit now"
    assert more.strip() == ""


def test_ctrl_c_waits_until_an_import_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nhalf = sum(range(1000))\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)]
    imported = []

    def work() -> None:
        with interruption.raised_between_imports():
            imported.append(importlib.import_module("slow_to_import"))
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        work()
    assert imported[0].whole
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)] == before


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.raised_between_imports():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
