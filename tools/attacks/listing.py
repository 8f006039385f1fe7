"""Folders, lists and zips that are built to make a listing endless, or to fill the memory."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tools.attacks import Attack, Seen

_MEMBERS, _ONE_IMAGE_IN = 150_000, 10
_LONG_LINE = 150_000_000
_DEEP, _DEEPER = 1_300, 5_000
_SECONDS_TO_STOP = 2.0
_PRESSES = 3

_LIST = """
import json, signal, sys, time
from pipelines.errors import ScenetagsError
from pipelines.listing import list_images
from pipelines.records import Failure
from pipelines.supervision import interruption

inputs, input_list = json.loads(sys.argv[1])
signal.alarm(60)
print("begins", flush=True)
began, images, failures, refusal = time.monotonic(), 0, [], ""
try:
    with interruption.deferred():
        for item in list_images(inputs, input_list):
            if isinstance(item, Failure):
                failures.append(item.error)
            else:
                images += 1
except ScenetagsError as error:
    refusal = str(error)
[peak] = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(json.dumps([images, failures[:5], refusal, time.monotonic() - began, 1024 * peak]))
"""


class Listing(NamedTuple):
    """How a listing went.

    Attributes:
      images: their number.
      failures: kinds of the first of them.
      refusal: why there was none.
      seconds: it took.
      peak: resident memory of the process, in bytes.
    """

    images: int
    failures: list[str]
    refusal: str
    seconds: float
    peak: int


def _start(*inputs: Path, input_list: Path | None = None) -> subprocess.Popen[str]:
    """Start to list in a process of its own."""
    named = json.dumps([[str(path) for path in inputs], input_list and str(input_list)])
    process = subprocess.Popen(
        [sys.executable, "-c", _LIST, named], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    _read(process, to_end=False)
    return process


def _read(process: subprocess.Popen[str], *, to_end: bool = True) -> str:
    # Not `communicate`, which would miss what `readline` has read ahead.
    assert process.stdout
    return process.stdout.read() if to_end else process.stdout.readline()


def _list(*inputs: Path, input_list: Path | None = None) -> Listing:
    """List in a process of its own, which ends after a minute."""
    with _start(*inputs, input_list=input_list) as process:
        said = _read(process)
    return Listing(*json.loads(said)) if said else Listing(0, [], f"ended with {process.returncode}", 60, 0)


def _empty(folder: Path) -> int:
    """Measure the memory of a process that lists one image."""
    (folder / "one").mkdir()
    (folder / "one/a.jpg").touch()
    return _list(folder / "one").peak


def link_everything(folder: Path) -> Seen:
    """Link fourteen folders with each other."""
    names = [f"{number:02}" for number in range(14)]
    for name in names:
        (folder / name).mkdir()
        (folder / name / "a.jpg").touch()
        for other in names:
            (folder / name / f"to-{other}").symlink_to(f"../{other}")
    found = [_list(folder), _list(folder / "**/*.jpg")]
    held = all(listing.images == len(names) and not listing.failures and listing.seconds < 5 for listing in found)
    return Seen(held, "; ".join(f"{listing.images} images in {listing.seconds:.2f} s" for listing in found))


def dig_deep(folder: Path) -> Seen:
    """Nest folders with an image at the bottom of each."""
    seen, held = [], True
    for depth in (_DEEP, _DEEPER):
        top = folder / str(depth)
        top.mkdir()
        _nest(top, depth)
        for pattern in (top, top / "**/*.jpg"):
            listing = _list(pattern)
            held &= not listing.refusal and listing.images == 1
            # Paths end at 4,095 bytes.
            held &= listing.failures == (["UnlistedFolderError"] if depth == _DEEPER else [])
            seen.append(f"{depth:,}: {listing.images} image, {listing.failures} in {listing.seconds:.1f} s")
        # Python's own way to remove folders calls itself for each level.
        subprocess.run(["rm", "-r", top], check=True)
    return Seen(held, "; ".join(seen))


def _nest(top: Path, depth: int) -> None:
    (top / "a.jpg").touch()
    below = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=below)
        above, below = below, os.open("d", os.O_RDONLY, dir_fd=below)
        os.close(above)
    os.close(below)


def pass_over_members(folder: Path) -> Seen:
    """Zip hundreds of thousands of members, a tenth of them images."""
    nothing, path = _empty(folder), folder / "x.zip"
    _write_zip(path)
    listing = _list(path)
    per_member = (listing.peak - nothing) / _MEMBERS
    held = listing.images == _MEMBERS // _ONE_IMAGE_IN and per_member < 100
    return Seen(held, f"{per_member:.0f} bytes per member, {10 * per_member:.0f} per image; {listing.seconds:.1f} s")


def _write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(_MEMBERS):
            ending = "xml" if number % _ONE_IMAGE_IN else "jpg"
            archive.writestr(zipfile.ZipInfo(f"folder/of/tiles/tile_{number:08}.{ending}"), b"")


def write_long_lines(folder: Path) -> Seen:
    """Write a line of 150 MB into a list of each kind, packed and not, and copies of a long value into a small one."""
    nothing, line = _empty(folder), "x" * _LONG_LINE
    (folder / "long.txt").write_text(f"one/a.jpg\n{line}\none/a.jpg\n")
    (folder / "long.csv").write_text(f"path\none/a.jpg\n{line}\none/a.jpg\n")
    (folder / "quoted.csv").write_text('path,note\n"one/a.jpg,\n' + "one/a.jpg,\n" * (_LONG_LINE // 11))
    (folder / "long.jsonl").write_text(f'{{"path": "{line}"}}\n')
    for name in ("long.txt", "quoted.csv"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes(), 1))
    (folder / "long.txt.zst").write_bytes(pa.compress((folder / "long.txt").read_bytes(), "zstd", asbytes=True))
    pq.write_table(pa.table({"path": ["one/a.jpg", line, "one/a.jpg"]}), folder / "long.parquet")
    copies = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array([line[:4_000_000]]))
    pq.write_table(pa.table({"path": copies}), folder / "copies.parquet", compression="zstd", store_schema=False)
    seen, held = [], True
    for name in sorted(path.name for path in folder.glob("*.*")):
        listing = _list(input_list=folder / name)
        grown = listing.peak - nothing
        held &= grown < 100_000_000 and (listing.failures == ["ValueError"] or name in listing.refusal)
        seen.append(f"{name} {grown / 1e6:.0f} MB, {'refused' if listing.refusal else listing.failures}")
    return Seen(held, "; ".join(seen))


def press_ctrl_c(folder: Path) -> Seen:
    """Press Ctrl-C at random moments while a folder, a pattern, a list and a zip are listed."""
    chance, longest, seen = random.Random(11), 0.0, []
    (folder / "many").mkdir()
    for number in range(100_000):
        (folder / f"many/{number}.txt").touch()
    (folder / "blank.txt").write_bytes(b"\n" * 100_000_000)
    (folder / "names.txt").write_text("".join(f"{number}.jpg\n" for number in range(2_000_000)))
    _write_zip(folder / "x.zip")
    listings: dict[str, dict[str, Any]] = {
        "blank.txt": {"input_list": folder / "blank.txt"},
        "names.txt": {"input_list": folder / "names.txt"},
        "many": {},
        "many/*.jpg": {},
        "x.zip": {},
    }
    for name, named in listings.items():
        for _ in range(_PRESSES):
            process = _start(*([] if named else [folder / name]), **named)
            time.sleep(chance.random())
            pressed = time.monotonic()
            process.send_signal(signal.SIGINT)
            said = _read(process)
            process.wait()
            longest = max(longest, time.monotonic() - pressed)
            if "interrupted by SIGINT" in said:
                seen.append(name)
    held = longest < _SECONDS_TO_STOP and len(set(seen)) >= 3
    return Seen(held, f"{len(seen)} listings of {len(set(seen))} kinds ended within {longest:.2f} s")


ATTACKS = (
    Attack("links", "fourteen folders with links to each other", "each image is listed once", link_everything),
    Attack(
        "depth",
        f"folders nested {_DEEP:,} and {_DEEPER:,} deep",
        "they are listed, or are a failure where paths end",
        dig_deep,
    ),
    Attack(
        "zip_members",
        f"a zip of {_MEMBERS:,} members, 10 % of them images",
        "what is passed over takes no memory",
        pass_over_members,
    ),
    Attack(
        "long_lines",
        "150 MB in one line or one quoted cell of a list, also packed; 400 GB in 573 bytes of Parquet",
        "under 100 MB, and a failure or one line",
        write_long_lines,
    ),
    Attack("ctrl_c", "Ctrl-C at random moments of a listing", f"it ends within {_SECONDS_TO_STOP:g} s", press_ctrl_c),
)
