"""What is said of a run that ends without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.watchdog import explain, noted, watching
from tests.image_files import encode, picture
from tests.test_isolation import FAULTS

GUILTY = b'+ 7f01 "/chips/a.jpg"\n+ 7f02 "/chips/b.jpg"\n- 7f01\n+ 7f01 "/chips/c.jpg"\n'


def said(data: bytes) -> str:
    return explain(data.splitlines(keepends=True), "/out")


def test_after_a_goodbye_nothing_is_said() -> None:
    assert said(GUILTY + b"goodbye\n") == ""


def test_a_killed_run_names_what_it_decoded() -> None:
    assert said(GUILTY) == (
        'scenetags: the run was killed, for want of memory perhaps, while it decoded "/chips/b.jpg", "/chips/c.jpg"; '
        "finished waves are safe in /out, and the same command again goes on from there"
    )


def test_a_crash_names_the_image_of_its_thread() -> None:
    fault = b"Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f02 (most recent call first):\n  File x\n"

    assert said(GUILTY + fault) == (
        'scenetags: the run crashed (Segmentation fault) while it decoded "/chips/b.jpg"; finished waves are safe in '
        "/out, and the same command again goes on from there; with --isolate_decoding such an image is a failure like "
        "any other"
    )
    assert "while it decoded no image; finished" in said(GUILTY + fault.replace(b"7f02", b"7f09"))


def test_a_watchdog_that_is_gone_takes_nobody_with_it() -> None:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    # Other tests' servers may be among them.
    before = set(children.read_text().split())
    with watching("/out"):
        [child] = set(children.read_text().split()) - before
        os.kill(int(child), signal.SIGKILL)
        time.sleep(0.2)
        done = 0
        for _ in range(5):
            with noted("a.jpg"):
                done += 1
        assert done == 5, "work stopped with the watchdog"
        assert Path(f"/proc/{child}/status").read_text().find("(zombie)") > 0, "the watchdog lives"


@pytest.mark.parametrize("end", ["crash", "kill"])
def test_a_run_that_ends_in_the_middle_is_explained_in_a_line(end: str, tmp_path: Path, bundle_path: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULTS)
    (tmp_path / "chips").mkdir()
    for number in range(3):
        (tmp_path / f"chips/{number}.png").write_bytes(encode(picture(seed=number), "png"))
    guilty = tmp_path / "chips/guilty\n.jpg"
    guilty.write_bytes(encode(picture(), "jpeg", comment=b"CRASH" if end == "crash" else b"HANG"))
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "pipelines.predict", f"--input={tmp_path / 'chips'}", f"--model={bundle_path}"),
            *(f"--output={tmp_path / 'out'}", "--progress=off"),
        ],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    if end == "kill":
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/_lock")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(3)
        run.kill()
    _, printed = run.communicate(timeout=60)

    assert run.returncode == (-signal.SIGSEGV if end == "crash" else -signal.SIGKILL)
    [line] = printed.splitlines()
    assert ("crashed (Segmentation fault)" if end == "crash" else "was killed") in line
    assert 'guilty\\n.jpg"; finished waves are safe in' in line
