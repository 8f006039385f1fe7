"""Decoders that crash, hang, swell or lie cost their own image alone, when decoding is isolated."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines import predict
from pipelines.images import Resized
from pipelines.images.isolation import DecoderPool
from tests.image_files import encode, picture, unmarked_rgba_jpeg
from tests.outputs import rows
from tests.pipelines.images.faults import faulty
from tests.pipelines.images.isolated import CHIP, SETTINGS, assert_same, decoded, here


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
