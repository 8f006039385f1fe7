"""A listing of a bucket takes little memory, however many objects there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

LIST = """
import sys

from pipelines.storage import stores
from pipelines.listing import list_images
from pipelines.archives.packed import PackedNames
from pipelines.storage.buckets import BucketStore
from pipelines.storage.objects import Entry, Page

OBJECTS, A_PAGE = int(sys.argv[1]), 1000


class Simulated:
    def look_up(self, bucket, key):
        raise FileNotFoundError

    def page(self, asked):
        start = int(asked.following or 0)
        numbers = range(start, min(start + A_PAGE, OBJECTS))
        path = f"gs://{asked.bucket}/{asked.prefix}train"
        entries = [Entry(f"{path}_{n:08}.jpg", 15_000 + n, str(10**15 + n)) for n in numbers]
        return Page(entries, (), str(numbers.stop) if numbers.stop < OBJECTS else None)


stores.bucket_store = lambda path: BucketStore(Simulated())
packed = PackedNames(list_images(["gs://archive/chips"]))
assert len(packed) == OBJECTS
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(peak.split()[1])
"""


def peak(objects: int) -> int:
    """List so many objects in a process of its own, and measure its resident memory in bytes."""
    root = ROOT
    # What `resource` tells begins with the peak of the process that started it.
    return 1024 * int(subprocess.check_output([sys.executable, "-c", LIST, str(objects)], cwd=root, text=True))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak of memory")
def test_a_listing_of_a_hundred_thousand_objects_takes_less_than_200_mb() -> None:
    nothing, many = peak(1), peak(100_000)

    assert many < 200_000_000, f"{many / 1e6:.0f} MB, of which {nothing / 1e6:.0f} MB are the program's"
