"""Attacks on the end of a run that is asked to stop: many large images, and images whose decoder never ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.material import small_bundle
from pipelines.results.outputs import open_output
from tests import ROOT
from tests.image_files import encode, picture
from tests.pipelines.images.faults import FAULTS, faulty
from tools.attacks import Attack, Seen

_LARGE, _SIDE = 40, 8000
_TIMES = 20
_LONGEST_SECONDS = 10.0
"""From SIGTERM to the end; containers are killed then."""


class Stopped(NamedTuple):
    """How a run ended that was asked to stop.

    Attributes:
      seconds: from the signal to the end.
      code: exit code.
      said: on standard error.
      rows: that it left.
    """

    seconds: float
    code: int
    said: str
    rows: int

    def wrong(self) -> str:
        """Return what is wrong with it; empty if nothing is."""
        if self.code == 0:
            return ""
        committed = "this run committed nothing" if not self.rows else f"{self.rows} image"
        if self.code != 128 + signal.SIGTERM or committed not in self.said:
            return f"code {self.code}, {self.rows} rows: {self.said!r}"
        return f"took {self.seconds:.1f} s" if self.seconds > _LONGEST_SECONDS else ""


def stop_large_images(folder: Path) -> Seen:
    """Send SIGTERM at various times to runs over images that each take a quarter of a gigabyte."""
    images = _write_large(folder / "images")
    chance = random.Random(1)
    ends = []
    for number in range(_TIMES):
        ends.append(_stop_run(folder / f"out-{number}", images, partial(time.sleep, chance.uniform(3, 25))))
    wrong = [end.wrong() for end in ends if end.wrong()]
    rows = sorted(end.rows for end in ends)
    what = (
        f"{len(ends)} runs over {_LARGE} images of {_SIDE} x {_SIDE}: at most {max(end.seconds for end in ends):.1f} s "
    )
    what += f"from the signal to the end, {rows[0]} to {rows[-1]} rows committed"
    return Seen(not wrong and rows[-1] > 0, "; ".join([what, *wrong[:3]]))


def stop_hanging_decoder(folder: Path, *flags: str) -> Seen:
    """Send SIGTERM while a decoder hangs, after some images have been finished."""
    (folder / "faults").mkdir()
    (folder / "faults/sitecustomize.py").write_text(FAULTS)
    images = folder / "images"
    images.mkdir()
    for number in range(40):
        (images / f"{number}.png").write_bytes(encode(picture(seed=number), "png"))
    (images / "zzz.jpg").write_bytes(faulty(b"HANG"))
    hanging = folder / "hanging"
    environment = {"PYTHONPATH": f"{folder / 'faults'}:{ROOT}", "HANGING": str(hanging)}

    def wait_until_it_hangs() -> None:
        deadline = time.monotonic() + 60
        while not hanging.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        # The others are read before it, but not all of them are decoded.
        time.sleep(2)

    end = _stop_run(folder / "out", images, wait_until_it_hangs, flags, environment)
    wrong = end.wrong() or ("" if end.rows == 40 and end.code else f"{end.rows} rows, code {end.code}")
    return Seen(not wrong, f"ended after {end.seconds:.1f} s with {end.rows} of 40 rows; {wrong}".rstrip("; "))


def stop_hanging_child(folder: Path) -> Seen:
    """Do the same with a decoder in a process of its own, which may run for ten minutes."""
    return stop_hanging_decoder(folder, "--isolate_decoding", "--max_seconds=600")


def _stop_run(
    output: Path,
    images: Path,
    wait: Callable[[], None],
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Stopped:
    command = [sys.executable, "-m", "pipelines.predict", f"--input={images}", f"--model={small_bundle()}"]
    run = subprocess.Popen(
        [*command, f"--output={output}", "--progress=off", *flags],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait()
        run.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        _, said = run.communicate(timeout=120)
        seconds = time.monotonic() - begun
    finally:
        run.kill()
    rows = open_output(str(output)).predictions(["path"]).num_rows if (output / "predictions").exists() else 0
    return Stopped(seconds, run.returncode, said, rows)


def _write_large(folder: Path) -> Path:
    folder.mkdir()
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE]
    pixels = np.stack([columns // 7 % 256, rows // 5 % 256, (rows + columns) // 9 % 256], -1).astype(np.uint8)
    # Noise, or they would be decoded in no time.
    pixels[::3] += np.random.default_rng(1).integers(0, 20, pixels[::3].shape, dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "0.png", compress_level=1)
    for number in range(1, _LARGE):
        os.link(folder / "0.png", folder / f"{number}.png")
    return folder


_PROMISE = "it ends within 10 s, and all finished rows are committed"

ATTACKS = (
    Attack("stop_large_images", "SIGTERM to 20 runs over 40 PNGs of 64 megapixels", _PROMISE, stop_large_images),
    Attack("stop_hanging_decoder", "SIGTERM while a decoder hangs", _PROMISE, stop_hanging_decoder),
    Attack("stop_hanging_child", "SIGTERM while a decoder hangs in a process of its own", _PROMISE, stop_hanging_child),
)
