"""Attacks on the decoder: small files of great cost, and files of which pixels are missing."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipelines.images import ImageError, decode, ignore_metadata_warnings
from tests.pipelines.images.test_tiff_layouts import find_difference
from tools.attacks import Attack, Seen
from tools.hostile_images import HOSTILE
from tools.image_seeds import Seed, draw_seeds

_FOLDER = Path(__file__).parents[2]
# libjpeg makes up what is missing of the last unit that it has begun, and that leaves no trace; the seeds' smallest
# number of units is six.
_MOST_MADE_UP = 0.13
_TRY = """
import json, resource, sys
from itertools import pairwise
from pathlib import Path
from tools.image_trials import try_file
resource.setrlimit(resource.RLIMIT_AS, (8_000_000_000, 8_000_000_000))
print(json.dumps(try_file(Path(sys.argv[1]).read_bytes())._asdict()))
"""
_STOP_AFTER = 20
_LAYOUTS = 5_000


def decode_expensive_files(folder: Path) -> Seen:
    """Decode a file of each expensive kind, each in a process of its own."""
    broken, slowest, largest = [], 0.0, 0.0
    for kind in HOSTILE:
        path = folder / f"file.{kind.format}"
        path.write_bytes(kind.build(kind.many))
        command = [sys.executable, "-W", "ignore", "-c", _TRY, str(path)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_STOP_AFTER, cwd=_FOLDER, check=False
            )
        except subprocess.TimeoutExpired:
            broken.append(f"{kind.name} {kind.format}: over {_STOP_AFTER} s")
            continue
        found = re.search(r'"seconds": ([0-9.]+), "peak": (\d+), "broken": "(.*)"', done.stdout)
        if not found or found[3]:
            broken.append(f"{kind.name} {kind.format}: {found[3] if found else f'exit code {done.returncode}'}")
        if found:
            slowest, largest = max(slowest, float(found[1])), max(largest, int(found[2]) / 1e6)
    figures = f"{len(HOSTILE)} files, at most {slowest:.1f} s and {largest:.0f} MB each"
    return Seen(not broken, "; ".join([figures, *broken]))


def remove_pixels(_: Path) -> Seen:
    """Take away parts of a file of every layout, and look for pixels that the rest does not hold."""
    ignore_metadata_warnings()
    tried, refused, made_up = 0, 0, []
    for seed in draw_seeds():
        try:
            whole = decode(seed.data).pixels.astype(int)
        except ImageError:
            continue
        for data in _lacking(seed):
            tried += 1
            try:
                pixels = decode(data).pixels
            except ImageError:
                refused += 1
                continue
            wrong = pixels.shape != whole.shape or (np.abs(pixels - whole).max(axis=-1) > 16).mean() > _MOST_MADE_UP
            if wrong:
                made_up.append(seed.name)
    names = f"; made up: {', '.join(sorted(set(made_up)))}" if made_up else ""
    return Seen(not made_up, f"{refused:,} of {tried:,} refused, the others whole or all but the last block{names}")


def _lacking(seed: Seed) -> Iterator[bytes]:
    data = seed.data
    for length in range(1, len(data), max(1, len(data) // 300)):
        yield data[:length]
        if seed.format == "jpeg":
            yield data[:length] + b"\xff\xd9"
            if data.find(b"\xff\xd9", length) == len(data) - 2:
                yield data[:length] + bytes(len(data) - length)
    if seed.format == "jpeg":
        scans = [found.start() for found in re.finditer(rb"\xff\xda\0[\x08\x0a\x0c\x0e]", data)]
        for start in scans:
            following = re.compile(rb"\xff[^\0\xd0-\xd7]").search(data, start + 2)
            if following:
                yield data[:start] + data[following.start() :]
                header = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
                yield data[:header] + data[following.start() :]
        yield from _lacking_in_intervals(data)
    if seed.format == "jpeg2000":
        # The last tile part says that it ends earlier.
        at, end = data.rindex(b"\xff\x90"), len(data) - 2
        for length in range(20, end - at, max(1, (end - at) // 300)):
            yield data[: at + 6] + struct.pack(">I", length) + data[at + 10 : at + length] + data[end:]
    if seed.format == "png" and data.count(b"IDAT") == 1:
        at = data.index(b"IDAT") - 4
        size = int.from_bytes(data[at : at + 4], "big")
        lines = zlib.decompress(data[at + 8 : at + 8 + size])
        for number in range(28):
            packed = zlib.compress(lines[: len(lines) * number // 28])
            checksum = struct.pack(">I", zlib.crc32(b"IDAT" + packed))
            yield data[:at] + struct.pack(">I", len(packed)) + b"IDAT" + packed + checksum + data[at + 12 + size :]


def _lacking_in_intervals(data: bytes) -> Iterator[bytes]:
    """Cut each interval between restart markers by itself, and all of them."""
    edges = [0, *(edge for mark in re.finditer(rb"\xff[\xd0-\xd7]", data) for edge in mark.span()), len(data)]
    parts = [data[start:end] for start, end in pairwise(edges)]
    intervals = range(2, len(parts) - 1, 2)
    for size in (0, 1, 2, 3, 5, 10, 20):
        for cut in [*([number] for number in intervals), intervals]:
            yield b"".join(part[:size] if number in cut else part for number, part in enumerate(parts))


def draw_tiff_layouts(_: Path) -> Seen:
    """Decode TIFFs whose bands, bits, planes, pieces, codes and orders are drawn, and compare what was stored."""
    wrong = [f"{seed}: {difference}" for seed in range(_LAYOUTS) if (difference := find_difference(seed))]
    return Seen(not wrong, "; ".join([f"{len(wrong):,} of {_LAYOUTS:,} differ", *wrong[:3]]))


ATTACKS = (
    Attack(
        "expensive_images",
        "decode files below 11 MB that repeat or share what a decoder reads again and again",
        "at most 2 core-seconds and 1 GB for each",
        decode_expensive_files,
    ),
    Attack(
        "tiff_layouts",
        f"decode {_LAYOUTS:,} TIFFs of drawn layouts: bands, bits, planes, strips, tiles, codes, orders, opacity, gaps",
        "the pixels are those that were stored",
        draw_tiff_layouts,
    ),
    Attack(
        "missing_pixels",
        "cut files of every layout, and restart intervals; mark the end, zero the rest, drop scans and rows",
        "refused, or the pixels are those of the whole file",
        remove_pixels,
    ),
)
