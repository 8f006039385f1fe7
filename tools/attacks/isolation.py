"""Attacks on `--isolate_decoding` and on reading: decoders that mutiny, decoders that lose their run, late pipes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from pipelines.images import DecodeSettings, Resized, decode_resized
from pipelines.images.limits import Limits
from pipelines.listing import list_images
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, Image, ImageRef
from tests.image_files import encode, picture
from tests.pipelines.images.faults import FAULTS, faulty, is_alive
from tools.attacks import Attack, Seen

_SETTINGS = DecodeSettings(32, "bilinear", 1_000_000)
_MUTINIES = (
    *(b"CRASH", b"EXIT", b"HANG", b"SWELL", b"BUSY", b"STOPPED", b"DEAF", b"FORKING", b"DEEP", b"FLOOD", b"MORE"),
    *(b'LYING{"width": 1%sLYING' % (b"0" * 400 + b"}"), b'LYING{"source": "\\ud800"}LYING'),
    *(b'LYING{"width": true}LYING', b'LYING{"repairs": [["cmyk"]]}LYING', b'LYING{"number": 3}LYING'),
    b'LYING{"error": "DamagedImageError", "message": "\\udfff"}LYING',
)
_BUSY = """
import os, signal, sys, threading, time
from pipelines.images import DecodeSettings
from pipelines.images.isolation import DecoderPool
from tests.pipelines.images.faults import faulty
pool = DecoderPool(DecodeSettings(32, "bilinear"), 600, 2)
for _ in range(2):
    threading.Thread(target=pool.decode, args=(faulty(b"BUSY"),), daemon=True).start()
while not all(child._process for child in pool._children):
    time.sleep(0.001)
print(*(child._process.pid for child in pool._children), flush=True)
time.sleep(600)
"""


def mutiny(folder: Path) -> Seen:
    """Decode images of which every fifth makes its decoder misbehave, each time in another way."""
    files = {}
    for number in range(10 * len(_MUTINIES)):
        guilty = number % 10 in (3, 4)
        image = faulty(_MUTINIES[number // 10]) if guilty else encode(picture(seed=number), "png")
        files[f"{number:04}{'-guilty' if guilty else ''}.jpg"] = image
    for name, content in files.items():
        (folder / name).write_bytes(content)
    limits = Limits(max_pixels=1_000_000, max_seconds=1, isolated=True)
    listed = _list(folder)
    with _faults(folder / "faults"), _reading(listed, limits, seconds=120) as read:
        pass
    wrong = [name for name, item in zip(files, read, strict=False) if not _is_right(name, item, files[name])]
    what = f"{len(read)} of {len(listed)} read, {2 * len(_MUTINIES)} mutinies, {len(wrong)} wrong {wrong[:3]}"
    return Seen(not wrong and len(read) == len(listed), what)


def orphans(folder: Path) -> Seen:
    """Kill processes whose decoders are busy or still starting."""
    left = 0
    chance = random.Random(1)
    with _faults(folder):
        for _ in range(10):
            run = subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, text=True)
            assert run.stdout
            children = [int(child) for child in run.stdout.readline().split()]
            time.sleep(chance.uniform(0, 0.6))
            run.kill()
            run.communicate()
            deadline = time.monotonic() + 2
            while any(map(is_alive, children)) and time.monotonic() < deadline:
                time.sleep(0.01)
            for child in filter(is_alive, children):
                left += 1
                os.kill(child, signal.SIGKILL)
    return Seen(left == 0, f"{left} of 20 decoders left after 2 s")


def late_pipes(folder: Path) -> Seen:
    """Replace images by pipes while they are read."""
    chip = encode(picture(), "jpeg")
    for number in range(2_000):
        (folder / f"{number:04}.jpg").write_bytes(chip)
    (folder / "fifo").mkdir()
    listed = _list(folder)
    with _reading(listed, Limits(), seconds=30) as read:
        for number, ref in enumerate(reversed(listed)):
            os.mkfifo(folder / "fifo" / str(number))
            os.replace(folder / "fifo" / str(number), ref.path)
    pipes = sum(isinstance(item, Failure) and item.message == "not a regular file" for item in read)
    images = sum(isinstance(item, Image) for item in read)
    held = len(read) == len(listed) == pipes + images and pipes > 0
    return Seen(held, f"{len(read):,} of {len(listed):,} read: {images:,} images, {pipes:,} pipes refused")


def _list(folder: Path) -> list[ImageRef]:
    return [ref for ref in list_images([str(folder)]) if isinstance(ref, ImageRef)]


@contextmanager
def _reading(listed: Sequence[ImageRef], limits: Limits, seconds: float) -> Iterator[list[Image | Failure | Empty]]:
    """Read images while the block runs, and wait for the last of them, but not without end."""
    read: list[Image | Failure | Empty] = []

    def read_all() -> None:
        with closing(LookAhead(ImageSource(_SETTINGS, limits), 8)) as ahead:
            read.extend(ahead.read(listed))

    reading = threading.Thread(target=read_all, daemon=True)
    reading.start()
    yield read
    reading.join(seconds)


@contextmanager
def _faults(folder: Path) -> Iterator[None]:
    """Give the decoders of this process, and of those it starts, the faults of a bad native library."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(FAULTS)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _is_right(name: str, item: Image | Failure | Empty, data: bytes) -> bool:
    if "guilty" in name:
        return isinstance(item, Failure)
    if not isinstance(item, Image):
        return False
    expected: Resized = decode_resized(data, _SETTINGS)
    return item[1:5] == expected[:4] and np.array_equal(item.pixels, expected.pixels)


ATTACKS = (
    Attack(
        "mutinous_decoders",
        "isolated decoders crash, hang, stop, fork, flood their pipe and lie in every field",
        "each costs its own image alone; all other pixels are the same",
        mutiny,
    ),
    Attack("orphaned_decoders", "SIGKILL while decoders start or are busy", "no decoder outlives its run", orphans),
    Attack(
        "late_pipes",
        "images become named pipes between listing and reading",
        "each is a failure, and the run does not wait",
        late_pipes,
    ),
)
