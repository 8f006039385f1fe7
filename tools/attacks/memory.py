"""Attacks on the memory: files that are small on the disk or in an archive, and large once they are fetched or decoded.

Each reads its files in a process whose address space is limited, as `scenetags predict` does, with 32 reads in flight.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.listing import list_images
from pipelines.reading import READS_IN_FLIGHT
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Failure, ImageRef
from tools import emulators
from tools.attacks import Attack, Seen
from tools.largest_images import LAYOUTS

_MEMORY = 6_000_000_000
"""Bytes of address space that a process gets."""
_MOST = 1_600_000_000
"""Bytes that it and its children may use: a quarter, and what they take without any image."""
_COUNT, _SIZE = 10, 400_000_000
_PIECE = 8_000_000
# A JPEG of 4 x 4 pixels, a PNG of 1000 x 1000 and a TIFF whose directory lies behind the zeros: up to the pixels.
_BEGINNINGS = {
    "jpg": bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b080004000401011100ffda0008010100003f00"),
    "png": bytes.fromhex("89504e470d0a1a0a0000000d49484452000003e8000003e808020000004dc0a6fb"),
    "tif": b"II*\0" + (_SIZE - 100).to_bytes(4, "little"),
}
_NOT_AN_IMAGE = {"NotAnImageError": _COUNT}
_DAMAGED = {"DamagedImageError": 7, "UntrustedColoursError": 3}


def _pack_zip(folder: Path, beginnings: Mapping[str, bytes]) -> str:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(_COUNT):
            kind, beginning = _nth(beginnings, number)
            with archive.open(f"{number}.{kind}", "w") as member:
                member.write(beginning + bytes(_PIECE - len(beginning)))
                for _ in range(_SIZE // _PIECE - 1):
                    member.write(bytes(_PIECE))
    return str(folder / "x.zip")


def _pack_tar(folder: Path, beginnings: Mapping[str, bytes]) -> str:
    # Compressed files can be joined, and most of these are the same.
    zeros = gzip.compress(bytes(_PIECE), 1)
    with open(folder / "x.tar.gz", "wb") as archive:
        for number in range(_COUNT):
            kind, beginning = _nth(beginnings, number)
            member = tarfile.TarInfo(f"{number}.{kind}")
            member.size = _SIZE
            archive.write(gzip.compress(member.tobuf() + beginning + bytes(_PIECE - len(beginning)), 1))
            archive.write(zeros * (_SIZE // _PIECE - 1))
        archive.write(gzip.compress(bytes(1024)))
    return str(folder / "x.tar.gz")


def _write_sparse(folder: Path, beginnings: Mapping[str, bytes]) -> str:
    """Write files of zeros that take no room on the disk."""
    (folder / "sparse").mkdir()
    for number in range(_COUNT):
        kind, beginning = _nth(beginnings, number)
        with open(folder / "sparse" / f"{number}.{kind}", "wb") as file:
            file.write(beginning)
            file.truncate(_SIZE)
    return str(folder / "sparse")


def _draw_large(folder: Path) -> str:
    """Draw 20 images of 64 million pixels."""
    (folder / "large").mkdir()
    for kind, layout in (("jpg", "JPEG"), ("png", "PNG"), ("tif", "TIFF")):
        (folder / f"0.{kind}").write_bytes(LAYOUTS[layout]())
    for number in range(20):
        kind, _ = _nth(_BEGINNINGS, number)
        os.link(folder / f"0.{kind}", folder / "large" / f"{number}.{kind}")
    return str(folder / "large")


def _nth(beginnings: Mapping[str, bytes], number: int) -> tuple[str, bytes]:
    return list(beginnings.items())[number % len(beginnings)]


def _read_in_bucket(folder: Path, isolated: bool) -> Seen:
    path = _pack_zip(folder, _BEGINNINGS)
    with emulators.google() as emulator:
        place = f"http://{emulator.host}/upload/storage/v1/b/{emulators.BUCKET}/o?uploadType=media&name=x.zip"
        with urllib.request.urlopen(place, data=Path(path).read_bytes()):
            environment = emulators.environment(emulator.scheme, emulator.host)
            return _read(f"{emulator.bucket}/x.zip", isolated, _DAMAGED, environment)


def _read_made(make: Callable[[Path], str], expected: Mapping[str, int], isolated: bool, folder: Path) -> Seen:
    return _read(make(folder), isolated, expected, {})


def _read(path: str, isolated: bool, expected: Mapping[str, int], environment: Mapping[str, str]) -> Seen:
    """Read what lies at a path in another process, and compare its rows and its memory with what is promised."""
    command = [sys.executable, "-m", __name__, path, *(["isolated"] if isolated else [])]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **environment}, text=True) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _resident(watched))
            time.sleep(0.005)
        assert process.stdout
        printed = process.stdout.read()
    rows, own_peak = json.loads(printed) if printed else ({}, 0)
    peak = max(peak, own_peak)
    held = rows == expected and peak <= _MOST
    counted = ", ".join(f"{count} {kind}" for kind, count in rows.items()) or f"exit code {process.returncode}"
    return Seen(held, f"{counted}; {peak / 1e6:,.0f} MB of at most {_MOST / 1e6:,.0f}")


def _resident(process: Any) -> int:
    """Sum up the resident memory of a process and its children."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += member.memory_info().rss
    return total


def _read_all(path: str, isolated: bool) -> None:
    """Read all images at a path, and print the kinds of rows and the peak of the memory in bytes."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    rows: Counter[str] = Counter()
    listed = list(list_images([path]))
    refs = [item for item in listed if isinstance(item, ImageRef)]
    rows.update(item.error for item in listed if isinstance(item, Failure))
    source = ImageSource(DecodeSettings(224, "bilinear"), Limits(isolated=isolated))
    with contextlib.closing(LookAhead(source, READS_IN_FLIGHT)) as ahead:
        for item in ahead.read(refs):
            rows[item.error if isinstance(item, Failure) else "image"] += 1
    # Not `ru_maxrss`, which begins with that of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps([rows, int(peak[1]) * 1024 if peak else 0]))


def _attacks(isolated: bool) -> tuple[Attack, ...]:
    zeros = {"jpg": b""}
    made: tuple[tuple[str, str, Callable[[Path], str], Mapping[str, int]], ...] = (
        ("zip_of_zeros", "a 4 MB zip of ten 400 MB of zeros", partial(_pack_zip, beginnings=zeros), _NOT_AN_IMAGE),
        ("sparse_files", "ten sparse files of 400 MB", partial(_write_sparse, beginnings=zeros), _NOT_AN_IMAGE),
        ("zip_of_headers", "ten members of a zip: a header, then 400 MB of zeros",
         partial(_pack_zip, beginnings=_BEGINNINGS), _DAMAGED),
        ("tar_of_headers", "the same in a .tar.gz", partial(_pack_tar, beginnings=_BEGINNINGS), _DAMAGED),
        ("sparse_headers", "the same as sparse files", partial(_write_sparse, beginnings=_BEGINNINGS), _DAMAGED),
        ("large_images", "20 images of 64 million pixels", _draw_large, {"image": 20}),
    )  # fmt: skip
    ending, how = ("_isolated", ", with --isolate_decoding") if isolated else ("", "")
    promise = "every row, within a quarter of the memory that may be used"
    return (
        *(
            Attack(name + ending, attempt + how, promise, partial(_read_made, make, expected, isolated))
            for name, attempt, make, expected in made
        ),
        Attack("bucket_of_headers" + ending, "the zip of headers in a bucket" + how, promise,
               partial(_read_in_bucket, isolated=isolated)),
    )  # fmt: skip


ATTACKS = (*_attacks(isolated=False), *_attacks(isolated=True))

if __name__ == "__main__":
    _read_all(sys.argv[1], isolated=sys.argv[2:] == ["isolated"])
