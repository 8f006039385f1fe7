"""Attacks on outputs in file systems like those on networks: without flock, without syncs of folders, mounted twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.material import small_bundle, synthetic_chips
from pipelines.results.outputs import open_output
from tools.attacks import Attack, Seen

_MANY = 20_000
"""Images whose run is not over before the attack is."""
_POOR = ("flock=ENOLCK", "fsyncdir=EINVAL", "link=EPERM")


def contend(holder: str, comer: str, folder: Path) -> Seen:
    """Hold an output through one mount of its folder, and start a second run through the other."""
    with _mounted(folder) as (real, mount), _many_chips(folder) as chips:
        places = {"folder": real, "mount": mount}
        first = _start(chips, places[holder] / "out")
        try:
            _wait_for(real / "out" / "_lock", first)
            begun = time.monotonic()
            code, said = _end(_start(synthetic_chips(64), places[comer] / "out"))
            seconds = time.monotonic() - begun
            alive = first.poll() is None
        finally:
            first.kill()
            first.wait()
    held = code == 2 and "is in use by run" in said and alive
    return Seen(held, f"code {code} after {seconds:.0f} s; the first {'works on' if alive else 'ended'}: {said}")


def kill(folder: Path) -> Seen:
    """Kill a run that holds an output in the mount, and start another one there."""
    with _mounted(folder) as (_, mount), _many_chips(folder) as chips:
        killed = _start(chips, mount / "out")
        _wait_for(mount / "out" / "_lock", killed)
        killed.kill()
        killed.wait()
        begun = time.monotonic()
        code, said = _end(_start(synthetic_chips(64), mount / "out"))
        seconds = time.monotonic() - begun
        rows = open_output(str(mount / "out")).predictions(["path"]).num_rows if code == 0 else 0
        left = sorted(path.name for path in (mount / "out").iterdir())
    held = code == 0 and rows == 64 and seconds < 60 and left == ["predictions", "runs"]
    return Seen(held, f"code {code} after {seconds:.0f} s, {rows} rows, {left}: {said}")


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Mount a folder a second time, through a file system without flock; yield the folder and the mount."""
    real, mount = folder / "real", folder / "mount"
    real.mkdir()
    mount.mkdir()
    server = subprocess.Popen([sys.executable, "-m", "tools.fuse", str(real), str(mount), *_POOR])
    try:
        while not mount.is_mount():
            if server.poll() is not None:
                raise RuntimeError("cannot mount: it takes Linux, /dev/fuse and root")
            time.sleep(0.05)
        yield real, mount
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


@contextlib.contextmanager
def _many_chips(folder: Path) -> Iterator[Path]:
    chips = folder / "chips"
    chips.mkdir()
    one = chips / "0.jpg"
    one.write_bytes(next(iter(synthetic_chips(64).iterdir())).read_bytes())
    for number in range(1, _MANY):
        os.link(one, chips / f"{number}.jpg")
    yield chips


def _start(chips: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.predict", f"--model={small_bundle()}", "--progress=off"]
    command += [f"--input={chips}", f"--output={output}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _end(run: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, said = run.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        run.kill()
        _, said = run.communicate()
    return run.returncode, " ".join(said.split())


def _wait_for(lock: Path, run: subprocess.Popen[str]) -> None:
    while not lock.exists():
        if run.poll() is not None:
            raise RuntimeError(f"the run ended too early: {_end(run)}")
        time.sleep(0.05)


_PAIRS: Sequence[tuple[str, str]] = (("folder", "mount"), ("mount", "folder"), ("mount", "mount"))

ATTACKS = (
    *(
        Attack(
            f"no_flock_{holder}_{comer}",
            f"a run into a {holder}, a second into its {comer}, where flock and syncs of folders fail",
            "the second is refused, the first works on",
            partial(contend, holder, comer),
        )
        for holder, comer in _PAIRS
    ),
    Attack(
        "no_flock_killed",
        "SIGKILL to a run whose output knows no flock",
        "the next run waits half a minute, and nothing is left behind",
        kill,
    ),
)
