"""Child processes of isolated decoding: what they hold and how they end, which costs no image and outlives no run."""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from pipelines.images import decoder_process, isolation
from pipelines.images.answers import BrokenChildError
from pipelines.images.isolation import DecoderPool, DecoderStartError
from pipelines.supervision import interruption
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.pipelines.images.faults import faulty, is_alive
from tests.pipelines.images.isolated import CHIP, SETTINGS, assert_same, decoded, here


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are not told what to keep")
def test_a_child_keeps_the_memory_of_one_chip_for_the_next() -> None:
    chip, fetched = unmarked_rgba_jpeg(picture(256, 256)), []
    with closing(DecoderPool(SETTINGS._replace(image_size=224), max_seconds=20, size=1)) as pool:
        for _ in range(8):
            pool.decode(chip)
            process = pool._children[0]._process
            assert process
            # Of proc_pid_stat(5): pages that the kernel has had to find for the process.
            fetched.append(int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[7]))
    # The pixels of the chip alone fill 64 pages.
    assert fetched[-1] - fetched[3] < 4 * 16


def test_a_child_that_an_earlier_image_has_damaged_fails_no_later_one(pool: DecoderPool) -> None:
    pool.decode(CHIP)
    # Killed while it works, which is what a child does whose memory an earlier image has overwritten.
    child = pool._children[0]
    assert child._process
    child._has_stirred = lambda: False  # type: ignore[method-assign]
    os.kill(child._process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child._process.pid, os.WEXITED | os.WNOWAIT)

    assert_same(pool.decode(CHIP), here(CHIP))


@pytest.mark.parametrize("number", [*interruption.SIGNALS, *interruption.MORE_SIGNALS])
def test_a_signal_to_all_processes_of_a_service_fails_no_image(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    child = pool._children[0]
    spawn = child._spawn

    def spawn_and_signal() -> subprocess.Popen[bytes]:
        process = spawn()
        process.send_signal(number)
        return process

    monkeypatch.setattr(child, "_spawn", spawn_and_signal)
    assert_same(pool.decode(CHIP), here(CHIP))
    assert child._process
    child._process.send_signal(number)
    assert_same(pool.decode(CHIP), here(CHIP))


def test_a_child_knows_no_credentials_and_holds_no_files(pool: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN", "PYTHON_TOKEN", "https_proxy")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    with open(os.devnull) as file:
        os.set_inheritable(file.fileno(), True)
        refused = str(decoded(pool.decode, faulty(b"SPYING")))
    names, files = json.loads(refused[refused.index("[") : refused.rindex("]") + 1])

    assert "PYTHONPATH" in names
    assert set(names) <= isolation._ENVIRONMENT | isolation._SETTINGS.keys() | {"PYTHONPATH"}
    # Its three pipes, and the listing itself.
    assert files == 4


def test_a_child_writes_to_no_file(pool: DecoderPool, tmp_path: Path) -> None:
    refused = decoded(pool.decode, faulty(b"SCRIBBLE" + str(tmp_path / "new").encode() + b"SCRIBBLE"))
    assert "File too large" in str(refused)
    assert (tmp_path / "new").stat().st_size == 0


def test_many_open_files_are_the_fault_of_no_image(pool: DecoderPool) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 1200:
        pytest.skip("this system does not let a process open 1,200 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1200, before[1]))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        while opened.enter_context(open(os.devnull)).fileno() < 1100:
            pass
        assert_same(pool.decode(CHIP), here(CHIP))
        pool._children[0].end()
        with suppress(OSError):
            while True:
                opened.enter_context(open(os.devnull))
        with pytest.raises(DecoderStartError, match=r"the process cannot be started \(Too many open files\); check"):
            pool.decode(CHIP)
    assert_same(pool.decode(CHIP), here(CHIP))


def test_a_child_outlives_the_thread_that_needed_it_first(pool: DecoderPool) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def decode() -> None:
        pool.decode(CHIP)
        started = pool._children[0]._process
        assert started
        processes.append(started)

    for _ in range(2):
        thread = threading.Thread(target=decode)
        thread.start()
        thread.join()
    assert processes[0] is processes[1]
    assert processes[0].poll() is None


def test_a_child_that_is_killed_between_two_images_costs_none(pool: DecoderPool) -> None:
    pool.decode(CHIP)
    process = pool._children[0]._process
    assert process
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert_same(pool.decode(CHIP), here(CHIP))


@pytest.mark.parametrize("at_work", [False, True], ids=["idle", "busy"])
def test_children_end_with_their_parent(faults: Path, at_work: bool) -> None:
    script = (
        "import os, signal, threading, time\n"
        "from pipelines.images import DecodeSettings, ImageError\n"
        "from pipelines.images.isolation import DecoderPool\n"
        "from tests.pipelines.images.faults import faulty\n"
        "pool = DecoderPool(DecodeSettings(32, 'bilinear'), 600, 1)\n"
        "try: pool.decode(b'')\n"
        "except ImageError: pass\n"
        f"threading.Thread(target=pool.decode, args=(faulty(b'BUSY'),), daemon=True).start() if {at_work} else None\n"
        "child = pool._children[0]._process.pid\n"
        "ticks = lambda: int(open(f'/proc/{child}/stat').read().split()[13])\n"
        f"while {at_work} and ticks() < 20: time.sleep(0.01)\n"
        "print(child, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).stdout)

    deadline = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < deadline, "the child has outlived its parent"
        time.sleep(0.05)


def test_children_end_with_the_pool() -> None:
    threads = threading.active_count()
    pool = DecoderPool(SETTINGS, 20, 2)
    pool.decode(CHIP)
    process = pool._children[0]._process
    pool.close()
    assert process
    assert process.poll() is not None
    assert threading.active_count() == threads


def test_a_busy_child_has_an_end_of_its_own(faults: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no kernel kills a child with its parent, only the limit of its time on the processor does."""
    with closing(DecoderPool(SETTINGS, max_seconds=0.01, size=1)) as pool:
        child = pool._children[0]
        child._start()
        # The parent would kill it before.
        child._max_seconds = 30
        with pytest.raises(BrokenChildError, match=r"^crashed \(SIGPROF\)$"):
            child._ask(faulty(b"BUSY"))

    limits: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda _, seconds: limits.append(seconds))
    for seconds in (60, 1e300, float("inf")):
        decoder_process._limit_time(seconds)
    assert 200 < limits[0] < 300
    assert limits[1] == limits[2] < 2**31
