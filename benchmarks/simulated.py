"""`scenetags predict` on a simulated archive: `python -m benchmarks.simulated COUNT --model ...`.

A fake bucket lists COUNT images, the reader returns the same picture for each without decoding, and an engine returns
probabilities without computing them. Everything else is the real product, running on one core.
"""

from __future__ import annotations

import argparse
import os
import sys
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from pipelines import predict, storage
from pipelines.archives import Admit
from pipelines.images import DecodeSettings, Resized
from pipelines.inference import ahead as inference
from pipelines.inference.bundle import Bundle
from pipelines.inference.engines import Engine
from pipelines.output.manifest import read_accounts
from pipelines.output.run import FAILURES, RUNS
from pipelines.output.tables import open_table, table_files
from pipelines.reading import source as reading
from pipelines.reading.source import ImageSource
from pipelines.records import ImageRef
from pipelines.storage import stores
from pipelines.storage.buckets import BucketStore
from pipelines.storage.objects import Entry, Page, PageRequest

ARCHIVE = "gs://simulated/chips"
FOLDER = "chips/"
FAILING = 100
"""The last of every this many images is missing when it is read."""

_RESIZED = Resized(256, 256, "jpeg 4x8", ("unmarked_rgba_jpeg",), np.full((32, 32, 3), 127, np.uint8))


def fingerprint_of(number: int) -> str:
    """Return the fingerprint of an image."""
    return str(10**15 + number)


class SimulatedBucket:
    """A bucket that can only list its images, also in ranges."""

    def __init__(self, count: int) -> None:
        self._count = count

    def look_up(self, bucket: str, key: str) -> Entry:
        raise FileNotFoundError(key)

    def page(self, asked: PageRequest) -> Page:
        if not FOLDER.startswith(asked.prefix):
            return Page((), (), None)
        first = bisect_right(range(self._count), asked.following or asked.after, key=key_of)
        numbers = range(first, min(first + asked.most, self._count))
        entries = [Entry(f"gs://{asked.bucket}/{key_of(n)}", 15_000 + n % 1000, fingerprint_of(n)) for n in numbers]
        return Page(entries, (), key_of(numbers[-1]) if numbers.stop < self._count else None)


class SimulatedEngine:
    """An engine that returns successive rows of a table, whatever the images; it takes them one by one, as on a CPU."""

    name = "simulated"
    calls = 1
    takes_batches = False
    on_gpu = False

    def __init__(self, bundle: Bundle) -> None:
        # Raised to a power, so that an image has a few tags rather than half of all.
        table = np.random.default_rng(0).random((1 << 16, len(bundle.labels))) ** 4
        self._table = table.astype(np.float32)
        self._next = 0

    def predict(self, pixels: Collection[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if self._next + len(pixels) > len(self._table):
            self._next = 0
        self._next += len(pixels)
        return self._table[self._next - len(pixels) : self._next]


def fetch(source: ImageSource, ref: ImageRef, admit: Admit) -> bytes:
    """Replace `ImageSource.fetch_bytes`, fetching nothing."""
    if _number(ref.path) % FAILING == FAILING - 1:
        raise FileNotFoundError(2, "No such file or directory")
    return b""


def open_simulated(bundle: Bundle, engine: str, threads: int | None, embeds: bool, precision: str) -> Engine:
    """Replace `engines.open_engine` with an engine that takes no time."""
    return SimulatedEngine(bundle)


def decode(data: bytes, settings: DecodeSettings) -> Resized:
    """Replace `decoding.decode_resized`, decoding nothing."""
    return _RESIZED


def simulate(
    count: int,
    argv: Sequence[str],
    open_engine: Callable[[Bundle, str, int | None, bool, str], Engine] = open_simulated,
    decode: Callable[[bytes, DecodeSettings], Resized] = decode,
) -> int:
    """Run `scenetags predict` with these arguments on `count` images, and return its exit code."""
    with simulated_bucket(count), simulated(open_engine, decode):
        return predict.main([f"--input={ARCHIVE}", *argv])


@contextmanager
def simulated_bucket(count: int) -> Iterator[None]:
    """Let this process find `count` images in any bucket, until the block ends."""
    bucket = BucketStore(SimulatedBucket(count))  # type: ignore[arg-type]
    with patch.object(stores, "bucket_store", lambda path: bucket):
        yield


@contextmanager
def simulated(
    open_engine: Callable[[Bundle, str, int | None, bool, str], Engine] = open_simulated,
    decode: Callable[[bytes, DecodeSettings], Resized] = decode,
) -> Iterator[None]:
    """Read and predict images that do not exist, in this process, until the block ends."""
    with ExitStack() as fakes:
        fakes.enter_context(patch.object(ImageSource, "fetch_bytes", fetch))
        fakes.enter_context(patch.object(reading, "decode_resized", decode))
        fakes.enter_context(patch.object(inference, "open_engine", open_engine))
        yield


def check(output: str, count: int) -> None:
    """Check that the output has one row per image, in the right table, and that the last run's counts add up.

    Raises:
      AssertionError: the check failed.
    """
    rows = np.zeros(count, np.int64)
    for path in table_files(output):
        with open_table(path) as table:
            for batch in table.iter_batches(columns=["path"]):
                numbers = np.array([_number(path) for path in batch["path"].to_pylist()])
                assert np.all((numbers % FAILING == FAILING - 1) == (f"/{FAILURES}/" in path)), path
                np.add.at(rows, numbers, 1)
    assert np.all(rows == 1), f"{np.sum(rows == 0):,} images without a row, {np.sum(rows > 1):,} with several"
    accounts = read_accounts(storage.list_files(storage.join(output, RUNS))[-1])
    assert accounts.inputs == count, accounts
    assert accounts.failures == count // FAILING, accounts
    assert accounts.balanced, accounts


def key_of(number: int) -> str:
    """Return the key of an image; keys sort like numbers."""
    return f"{FOLDER}train_{number:09}.jpg"


def _number(path: str) -> int:
    return int(path.rpartition("_")[2].removesuffix(".jpg"))


if __name__ == "__main__":
    # Contending threads cost more on several cores than on one, and that cost is not the pipeline's.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulated", description=__doc__, allow_abbrev=False)
    parser.add_argument("count", type=int, metavar="COUNT", help="of images; flags go to `scenetags predict`")
    known, others = parser.parse_known_args()
    sys.exit(simulate(known.count, others))
