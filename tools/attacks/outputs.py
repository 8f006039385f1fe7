"""Attacks on what an output holds after runs that were killed, refused or changed."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from benchmarks.material import environment, small_bundle
from pipelines import predict
from tools import output_checks
from tools.attacks import Attack, Seen
from tools.output_checks import Archive, BrokenGuaranteeError

_PAIRS, _SEED = 20, 1
_FOLDERS, _IMAGES, _WAVE = ("a", "b", "c", "d"), 30, 12
_SIDE = 40
_PATIENCE_SECONDS = 120.0


def overwrite_in_pairs(folder: Path) -> Seen:
    """Disturb an overwrite, and let another follow; then the rows must be those of the second one alone."""
    random = Random(_SEED)
    broken, seen = [], {"killed": 0, "rejected": 0, "rows left": 0}
    before = folder / "before"
    _draw(folder / "before images", "old", random)
    _run([f"--input={folder / 'before images'}", f"--output={before}"])
    for number in range(_PAIRS):
        work = folder / str(number)
        output = work / "output"
        shutil.copytree(before, output)
        for name in _FOLDERS:
            _draw(work / name, name, random)
        killed = number % 2 == 0
        first = [f"--input={work / name}" for name in random.sample(_FOLDERS, random.randint(1, 3))]
        if killed:
            files = random.randint(1, len(first) * _IMAGES // _WAVE)
            seen["killed"] += _kill([*first, f"--output={output}"], output, files, random)
        else:
            seen["rejected"] += _run([*first, "--overwrite", "--max_failure_rate=0", f"--output={output}"]) == 3
        seen["rows left"] += sum(map(_count, output.glob("_overwrite-*")))
        _change(work, random)
        second = _choose(work, random)
        between = random.choice(("nothing", "a plain run", "a kill of the second one"))
        if between == "a plain run":
            _run([f"--input={work / random.choice(_FOLDERS)}", f"--output={output}"])
        elif between == "a kill of the second one":
            _kill([*second, f"--output={output}"], output, 1, random)
        try:
            _check(second, output, work / "expected")
        except BrokenGuaranteeError as error:
            broken.append(f"pair {number}: {error}")
    left = ", ".join(f"{count} {what}" for what, count in seen.items())
    what = f"{_PAIRS - len(broken)} of {_PAIRS} right ({left} by the first ones)"
    enough = seen["killed"] + seen["rejected"] == _PAIRS and seen["rows left"] > 0
    return Seen(held=not broken and enough, what="; ".join([what, *broken[:3]]))


def _draw(folder: Path, name: str, random: Random) -> None:
    """Draw small images into a folder, one of them damaged."""
    folder.mkdir(parents=True)
    for number in range(_IMAGES):
        (folder / f"{name}{number}.png").write_bytes(_image(random))
    (folder / f"{name}0.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def _image(random: Random) -> bytes:
    pixels = np.random.default_rng(random.getrandbits(32)).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    side = random.choice((_SIDE, _SIDE // 2))
    Image.fromarray(np.asarray(pixels)).resize((side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def _change(work: Path, random: Random) -> None:
    """Delete, change, damage, mend and add images between the two overwrites."""
    for name in _FOLDERS:
        files = sorted((work / name).iterdir())
        gone, changed, damaged = random.sample(files, 3)
        gone.unlink()
        changed.write_bytes(_image(random))
        damaged.write_bytes(b"\x89PNG\r\n\x1a\n no image")
        (work / name / f"new{name}.png").write_bytes(_image(random))


def _choose(work: Path, random: Random) -> list[str]:
    """Choose the images of the second overwrite, which may be other ones, some of the same, or all of them.

    A quarter of the times, only the smaller ones may be decoded.
    """
    limit = [f"--max_pixels={_SIDE * _SIDE - 1}"] if random.random() < 0.25 else []
    names = random.sample(_FOLDERS, random.randint(1, 3))
    if random.random() < 0.7:
        return [*limit, *(f"--input={work / name}" for name in names)]
    files = [file for name in names for file in sorted((work / name).iterdir())]
    listed = work / "list.txt"
    listed.write_text("".join(f"{file}\n" for file in random.sample(files, random.randint(1, len(files)))))
    return [*limit, f"--input_list={listed}"]


def _kill(arguments: Sequence[str], output: Path, files: int, random: Random) -> bool:
    """Kill an overwrite soon after it has gathered some files; return whether it was still at work."""
    run = subprocess.Popen(
        [sys.executable, "-m", "pipelines.predict", *_flags(arguments), "--overwrite"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while run.poll() is None and time.monotonic() < deadline:
        if len(list(output.glob("_overwrite-*/predictions/*.parquet"))) >= files:
            time.sleep(random.random() * 0.05)
            os.killpg(run.pid, signal.SIGKILL)
        time.sleep(0.001)
    return run.wait() == -signal.SIGKILL


def _check(second: Sequence[str], output: Path, expected: Path) -> None:
    """Run the second overwrite, and compare its rows with those that it has in an output of its own.

    Raises:
      BrokenGuaranteeError: they differ, or something is left behind.
    """
    _run([*second, f"--output={expected}"])
    code = _run([*second, "--overwrite", f"--output={output}"])
    if code:
        raise BrokenGuaranteeError(f"the second overwrite ended with code {code}")
    output_checks.judge(Archive(output, (), None, output_checks.read_rows(expected), 0.0, 0), output)


def _count(output: Path) -> int:
    return sum(rows.num_rows for rows in output_checks.read_rows(output).values())


def _run(arguments: Sequence[str]) -> int:
    """Run the command here: a process of its own takes two seconds to begin."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return predict.main(_flags(arguments))


def _flags(arguments: Sequence[str]) -> list[str]:
    rate = [] if any(argument.startswith("--max_failure_rate") for argument in arguments) else ["--max_failure_rate=1"]
    return [f"--model={small_bundle()}", f"--checkpoint_every={_WAVE}", "--progress=off", *rate, *arguments]


ATTACKS = (
    Attack(
        "overwrite_in_pairs",
        f"{_PAIRS} times an overwrite is killed or rejected, images are deleted and changed, and another one follows "
        "over other images; in between, some have a plain run, and some second ones are killed too",
        "the rows are exactly those of the second overwrite",
        overwrite_in_pairs,
    ),
)
