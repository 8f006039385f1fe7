"""Decoders that crash, hang, swell or lie cost their own image alone, when decoding is isolated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import predict
from pipelines.images import DecodeSettings, ImageError, Resized, decode_resized
from pipelines.images.isolation import DecoderPool
from tests.image_files import encode, picture, unmarked_rgba_jpeg
from tests.outputs import rows
from tests.pipelines.images.faults import FAULTS, faulty

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


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        (b"CRASH", ("DecoderCrashError", "the decoder crashed (SIGSEGV)")),
        (b"EXIT", ("DecoderCrashError", "the decoder crashed (exit code 3)")),
        (b"SWELL", ("ImageTooLargeError", "64 x 48 pixels do not fit in memory; run fewer workers per machine")),
        (b"NONSENSE", ("DecoderCrashError", "the decoder sent an invalid answer (malformed header)")),
        (b"FLOOD", ("DecoderCrashError", "the decoder sent an invalid answer (no header)")),
        (b"MORE", ("DecoderCrashError", "the decoder sent an invalid answer (more pixel data than expected)")),
    ],
)  # fmt: skip
def test_a_fault_costs_its_own_image_alone(pool: DecoderPool, fault: bytes, refusal: tuple[str, str]) -> None:
    assert decoded(pool.decode, faulty(fault)) == refusal
    assert_same(pool.decode(CHIP), here(CHIP))


def test_a_child_that_is_killed_between_two_images_costs_none(pool: DecoderPool) -> None:
    pool.decode(CHIP)
    process = pool._children[0]._process
    assert process
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert_same(pool.decode(CHIP), here(CHIP))


def test_a_decoder_that_hangs_is_stopped(faults: Path) -> None:
    pool = DecoderPool(SETTINGS, max_seconds=2, size=1)
    try:
        began = time.monotonic()
        refused = decoded(pool.decode, faulty(b"HANG"))
        assert refused == ("DecoderTimeoutError", "decoding took longer than --max_seconds 2")
        assert time.monotonic() - began < 10
        assert isinstance(pool.decode(CHIP), Resized)
    finally:
        pool.close()


def test_threads_share_a_pool(faults: Path) -> None:
    pool = DecoderPool(SETTINGS, max_seconds=30, size=2)
    files = [faulty(b"CRASH") if number % 7 == 3 else encode(picture(seed=number), "png") for number in range(40)]
    try:
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(partial(decoded, pool.decode), files))
    finally:
        pool.close()

    for number, result in enumerate(results):
        if number % 7 == 3:
            assert not isinstance(result, Resized)
        else:
            assert_same(result, here(files[number]))


def test_children_end_with_the_pool_and_with_their_parent(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from pipelines.images import DecodeSettings, ImageError\n"
        "from pipelines.images.isolation import DecoderPool\n"
        "pool = DecoderPool(DecodeSettings(32, 'bilinear'), 20, 1)\n"
        "try: pool.decode(b'')\n"
        "except ImageError: pass\n"
        "print(pool._children[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).stdout)

    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline, "the child has outlived its parent"
        time.sleep(0.05)

    threads = threading.active_count()
    pool = DecoderPool(SETTINGS, 20, 2)
    pool.decode(CHIP)
    pool.close()
    assert threading.active_count() == threads


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
