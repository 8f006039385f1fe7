"""How evenly a prefix of a bucket is divided, and in how many requests: `python -m benchmarks.ranges COUNT`.

The names are simulated, in five layouts; a request answers at once.
"""

from __future__ import annotations

import hashlib
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from pipelines.listing.dividing import find_borders
from pipelines.storage.objects import PAGE_SIZE

_PREFIX = "gs://archive/chips/"


def _flat(count: int) -> Iterator[str]:
    return (f"train_{number}.jpg" for number in range(count))


def _hashes(count: int) -> Iterator[str]:
    return (f"{hashlib.sha256(str(number).encode()).hexdigest()}.jpg" for number in range(count))


def _days(count: int) -> Iterator[str]:
    return (f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}/{n}.jpg" for n in range(count))


def _scenes(count: int) -> Iterator[str]:
    return (f"scene_{number // 1000}/chip_{number % 1000}.png" for number in range(count))


def _one_large(count: int) -> Iterator[str]:
    return (f"{'large' if n % 4 else f'small{n % 400}'}/IMG_{n:09}.jpg" for n in range(count))


LAYOUTS: dict[str, Callable[[int], Iterator[str]]] = {
    "flat, train_0.jpg": _flat,
    "flat, hashes": _hashes,
    "336 folders by day": _days,
    "scenes of 1,000": _scenes,
    "100 small folders, one large": _one_large,
}


def measure(names: Iterator[str]) -> tuple[int, int, float, float]:
    """Return how many ranges there are, after how many requests, which share the largest has, and the seconds."""
    paths = sorted(_PREFIX + name for name in names)
    requests = Counter[str]()

    def look(place: str) -> tuple[Sequence[str], bool]:
        requests[place] += 1
        begin = bisect_right(paths, place)
        return paths[begin : begin + 100], begin + 100 < len(paths)

    began = time.perf_counter()
    borders = find_borders(_PREFIX, paths[:PAGE_SIZE], look)
    seconds = time.perf_counter() - began
    places = [0, *(bisect_right(paths, border) for border in borders), len(paths)]
    largest = max(end - begin for begin, end in pairwise(places))
    return len(places) - 1, requests.total() + 1, largest / len(paths), seconds


if __name__ == "__main__":
    count = int(sys.argv[1])
    print(f"{count:,} names, {count // PAGE_SIZE:,} pages")
    for title, layout in LAYOUTS.items():
        ranges, looks, largest, seconds = measure(layout(count))
        print(f"{title:30} {ranges:4} ranges, {looks:5,} requests, largest {largest:.1%}, {seconds:.1f} s", flush=True)
