"""Decoders that crash, hang, swell or lie cost their own image alone, when decoding is isolated."""

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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import predict
from pipelines.images import DecodeSettings, ImageError, Resized, decode_resized, decoder_process, isolation
from pipelines.images.answers import BrokenChildError
from pipelines.images.isolation import DecoderPool, DecoderStartError
from pipelines.supervision import interruption
from tests.image_files import encode, picture, unmarked_rgba_jpeg
from tests.outputs import rows
from tests.pipelines.images.faults import FAULTS, faulty, is_alive

SETTINGS = DecodeSettings(32, "bilinear", 1_000_000)
CHIP = unmarked_rgba_jpeg(picture())


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def pool(faults: Path) -> Iterator[DecoderPool]:
    pool = DecoderPool(SETTINGS, max_seconds=20, size=1)
    yield pool
    pool.close()


def decoded(decode: Callable[[bytes], Resized], data: bytes) -> Resized | tuple[str, str]:
    """Decode a file, or give the kind of its error and the reason."""
    try:
        return decode(data)
    except ImageError as error:
        return type(error).__name__, str(error)


def here(data: bytes) -> Resized:
    return decode_resized(data, SETTINGS)


def assert_same(one: Resized | tuple[str, str], other: Resized | tuple[str, str]) -> None:
    if not isinstance(one, Resized) or not isinstance(other, Resized):
        assert one == other
        return
    assert one[:4] == other[:4]
    assert one.pixels.dtype == other.pixels.dtype
    assert np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize(
    "data",
    [CHIP, encode(picture(900, 1000), "png"), b"", b"no image", CHIP[:300], encode(picture(1001, 1000), "png")],
    ids=["chip", "large", "empty", "text", "cut", "too many pixels"],
)
def test_an_isolated_decoder_gives_the_same_pixels_and_reasons(pool: DecoderPool, data: bytes) -> None:
    for _ in range(2):
        assert_same(decoded(pool.decode, data), decoded(here, data))


def test_real_chips_are_the_same_too(pool: DecoderPool, planet: Path) -> None:
    for path in sorted(planet.rglob("*.*"))[:40]:
        data = path.read_bytes()
        assert_same(decoded(pool.decode, data), decoded(here, data))


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


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        (b"CRASH", ("DecoderCrashError", "the decoder crashed (SIGSEGV)")),
        (b"EXIT", ("DecoderCrashError", "the decoder crashed (exit code 3)")),
        (b"SWELL", ("ImageTooLargeError", "64 x 48 pixels do not fit in memory; run fewer workers per machine")),
        (b"NONSENSE", ("DecoderCrashError", "the decoder sent an invalid answer (malformed header)")),
        (b"DEEP", ("DecoderCrashError", "the decoder sent an invalid answer (malformed header)")),
        (b"FLOOD", ("DecoderCrashError", "the decoder sent an invalid answer (no header)")),
        (b"MORE", ("DecoderCrashError", "the decoder sent an invalid answer (more pixel data than expected)")),
        (b"DEAF", ("DecoderCrashError", "the decoder crashed (SIGKILL)")),
    ],
)  # fmt: skip
def test_a_fault_costs_its_own_image_alone(pool: DecoderPool, fault: bytes, refusal: tuple[str, str]) -> None:
    assert decoded(pool.decode, faulty(fault)) == refusal
    assert_same(pool.decode(CHIP), here(CHIP))


@pytest.mark.parametrize("fault", [b"HANG", b"STOPPED", b"BUSY", b"FORKING"])
def test_a_decoder_that_does_not_come_to_an_end_is_stopped(faults: Path, fault: bytes) -> None:
    with closing(DecoderPool(SETTINGS, max_seconds=0.3, size=1)) as pool:
        began = time.monotonic()
        refused = decoded(pool.decode, faulty(fault))
        assert refused == ("DecoderTimeoutError", "decoding took longer than --max_seconds 0.3")
        assert time.monotonic() - began < 10
        pool._children[0]._max_seconds = 20
        assert_same(pool.decode(CHIP), here(CHIP))


def test_a_lie_is_a_failure_of_its_image_alone(pool: DecoderPool) -> None:
    refused = decoded(pool.decode, faulty(b'LYING{"source": "\\ud800"}LYING'))
    assert refused == ("DecoderCrashError", "the decoder sent an invalid answer (malformed header)")
    assert_same(pool.decode(CHIP), here(CHIP))


def test_a_decoder_that_answers_twice_lends_its_pixels_to_no_other_image(pool: DecoderPool) -> None:
    other = encode(picture(seed=5), "png")

    assert isinstance(pool.decode(faulty(b"TWICE")), Resized)
    assert_same(pool.decode(other), here(other))
    assert_same(pool.decode(CHIP), here(CHIP))


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


def test_threads_share_a_pool(faults: Path) -> None:
    pool = DecoderPool(SETTINGS, max_seconds=30, size=2)
    files = [faulty(b"CRASH") if number % 13 == 3 else encode(picture(seed=number), "png") for number in range(20)]
    try:
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(partial(decoded, pool.decode), files))
    finally:
        pool.close()

    for number, result in enumerate(results):
        if number % 13 == 3:
            assert not isinstance(result, Resized)
        else:
            assert_same(result, here(files[number]))


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


def run(tmp_path: Path, bundle_path: str, *flags: str) -> int:
    named = [f"--input={tmp_path / 'chips'}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}"]
    return predict.main([*named, "--max_failure_rate=1", "--progress=off", *flags])


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    folder = tmp_path / "chips"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=number)))
    return folder


def test_a_run_survives_images_that_crash_and_hang_the_decoder(
    faults: Path, chips: Path, tmp_path: Path, bundle_path: str
) -> None:
    (chips / "05.jpg").write_bytes(faulty(b"CRASH"))
    (chips / "11.jpg").write_bytes(faulty(b"HANG"))

    # The faults are those of the children alone: this process would not survive them.
    assert run(tmp_path, bundle_path, "--isolate_decoding", "--max_seconds=3") == 0

    assert len(rows(tmp_path / "out")) == 18
    assert {row["path"][-6:]: (row["stage"], row["error"]) for row in rows(tmp_path / "out", "failures")} == {
        "05.jpg": ("decode", "DecoderCrashError"),
        "11.jpg": ("decode", "DecoderTimeoutError"),
    }


def test_isolated_rows_are_the_same_bits(chips: Path, tmp_path: Path, bundle_path: str) -> None:
    def tag(*flags: str) -> list[dict[str, Any]]:
        assert run(tmp_path, bundle_path, "--overwrite", *flags) == 0
        return [{**row, "run": ""} for row in rows(tmp_path / "out")]

    assert json.dumps(tag()) == json.dumps(tag("--isolate_decoding"))
