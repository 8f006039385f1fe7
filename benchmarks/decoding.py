"""Measure what one core takes to decode and resize a chip: `python -m benchmarks.decoding`.

Time is that of the thread on its core, so that other work on the machine does not count. The ways take turns every few
chips, each in a thread of its own, as in a job. A figure is the median over the chips.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.material import synthetic_chips
from model.data.dataset import RESIZE_FILTER
from pipelines.images import DecodeSettings, decode, decode_resized

GOAL = 0.75
"""Milliseconds for decoding and resizing as new bundles do."""

_PILLOWS = "bilinear"
_PER_TURN = 20
_MODEL_BYTES = 2_000_000


def main() -> int:
    """Measure and print a table; return 1 if decoding and resizing take more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of JPEGs (default: drawn chips of 256 px)")
    parser.add_argument("--count", type=int, default=1000, help="how many of them (default 1000)")
    parser.add_argument("--image_size", type=int, default=224, help="pixels that the model takes (default 224)")
    options = parser.parse_args()
    paths = sorted((options.images or synthetic_chips(options.count)).glob("*.jpg"))[: options.count]
    medians = measure(ways(options.image_size), [path.read_bytes() for path in paths])
    print(f"{len(paths):,} images to {options.image_size} px, core-milliseconds per image, medians")
    for way, milliseconds in medians.items():
        print(f"{milliseconds:6.3f}  {way}")
    whole = medians[_whole(RESIZE_FILTER)]
    print(f"{'met   ' if whole <= GOAL else 'MISSED'} {whole:.3f}; goal: at most {GOAL:g}")
    return int(whole > GOAL)


def ways(image_size: int) -> Mapping[str, Callable[[bytes], object]]:
    """Return what is measured, by its title."""
    resized = {
        _whole(name): partial(decode_resized, settings=DecodeSettings(image_size, name))
        for name in (_PILLOWS, RESIZE_FILTER)
    }
    return {"Pillow alone decodes": _by_pillow, "decoded, checked and repaired": decode, **resized}


def measure(measured: Mapping[str, Callable[[bytes], object]], files: Sequence[bytes]) -> dict[str, float]:
    """Put all files through each of these; return the median of its milliseconds on a core."""
    taken: dict[str, list[float]] = {way: [] for way in measured}
    # A job has freed the file of its model. From the size of what is freed, glibc learns how much memory to keep; until
    # then it returns what the next chip fetches again, for a third of the time.
    bytearray(_MODEL_BYTES)
    with ExitStack() as threads:
        turns = {name: threads.enter_context(ThreadPoolExecutor(1)) for name in measured}
        for first in range(0, len(files), _PER_TURN):
            for name, way in measured.items():
                taken[name] += turns[name].map(partial(_timed, way), files[first : first + _PER_TURN])
    return {name: statistics.median(milliseconds) for name, milliseconds in taken.items()}


def _timed(way: Callable[[bytes], object], data: bytes) -> float:
    began = time.thread_time_ns()
    way(data)
    return (time.thread_time_ns() - began) / 1e6


def _whole(resize_filter: str) -> str:
    return f"decoded and resized by {resize_filter}"


def _by_pillow(data: bytes) -> None:
    with Image.open(io.BytesIO(data), formats=("jpeg",)) as image:
        image.load()


if __name__ == "__main__":
    raise SystemExit(main())
