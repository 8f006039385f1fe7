"""Beam's job service as a small cluster: WORKERS workers per job, data between steps on disk, bundles of about 4 MB.

By itself, the service requests one worker, holds in memory whatever crosses between steps, and makes one bundle of all
input of a step, which it sends in one message.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from itertools import chain, zip_longest
from typing import IO, Any, ClassVar, NamedTuple
from unittest.mock import patch

from apache_beam.metrics import monitoring_infos
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability import local_job_service_main
from apache_beam.runners.portability.fn_api_runner import execution, fn_runner

BUNDLE = 4 << 20
"""Bytes of input at which a bundle is full."""


def main() -> None:
    """Serve until killed."""
    with cluster(int(os.environ["WORKERS"])):
        local_job_service_main.run(sys.argv[1:])


@contextmanager
def cluster(workers: int) -> Iterator[None]:
    """Have Beam's runner in this process behave like a cluster."""
    make = fn_runner.FnApiRunner.__init__

    def make_parallel(runner: Any, *arguments: Any, **settings: Any) -> None:
        make(runner, *arguments, **settings)
        runner._num_workers = workers

    with (
        tempfile.TemporaryFile(buffering=0) as Spool.file,
        patch.object(fn_runner.FnApiRunner, "__init__", make_parallel),
        patch.object(fn_runner, "ParallelBundleManager", SmallBundles),
        patch.object(fn_runner, "ListBuffer", ListOnDisk),
        patch.object(execution, "ListBuffer", ListOnDisk),
        patch.object(execution, "GroupingBuffer", GroupsOnDisk),
    ):
        yield


class Place(NamedTuple):
    """Where bytes lie in the file that holds all of them."""

    offset: int
    length: int


class Spool:
    """A list of bytes on disk."""

    file: ClassVar[IO[bytes]]

    def __init__(self, places: Iterable[Place] = ()) -> None:
        """Begin with bytes that are on disk already."""
        self.places = list(places)

    def append(self, data: bytes) -> None:
        """Write bytes at the end of the file."""
        # One after the other: the runner appends under a lock.
        offset = os.lseek(self.file.fileno(), 0, os.SEEK_END)
        self.file.write(data)
        self.places.append(Place(offset, len(data)))

    def extend(self, other: Spool) -> None:
        """Add the bytes of another list."""
        self.places += other.places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, some: slice) -> Spool:
        return Spool(self.places[some])

    def __iter__(self) -> Iterator[bytes]:
        return (os.pread(self.file.fileno(), place.length, place.offset) for place in self.places)


class ListOnDisk(execution.ListBuffer):  # type: ignore[misc]
    """What one step passes on to another, or to side inputs."""

    def __init__(self, coder_impl: Any) -> None:
        super().__init__(coder_impl)
        self._inputs = Spool()

    def copy(self) -> ListOnDisk:
        new = ListOnDisk(self._coder_impl)
        new._inputs = self._inputs[:]
        return new

    def clear(self) -> None:
        super().clear()
        self._inputs = Spool()


class ValuesOnDisk:
    """The values of a group."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pickled = Spool()

    def append(self, value: Any) -> None:
        """Write a value."""
        self._pickled.append(pickle.dumps(value))

    def extend(self, values: Iterable[Any]) -> None:
        """Write the values of another group."""
        for value in values:
            self.append(value)

    def __iter__(self) -> Iterator[Any]:
        return map(pickle.loads, self._pickled)


_InMemory = execution.GroupingBuffer


class GroupsOnDisk(execution.GroupingBuffer):  # type: ignore[misc]
    """What is grouped by key."""

    def __init__(self, *coders_and_windowing: Any) -> None:
        super().__init__(*coders_and_windowing)
        self._like_this = coders_and_windowing
        self._table: Any = defaultdict(ValuesOnDisk)
        self._grouped_output: list[Spool] | None = None

    def partition(self, n: int) -> list[Spool]:
        """Divide the groups among `n` workers."""
        if not self._grouped_output:
            parts = [Spool() for _ in range(n)]
            for number, (key, values) in enumerate(self._table.items()):
                group = _InMemory(*self._like_this)
                group._table[key] = list(values)
                [[encoded]] = group.partition(1)
                parts[number % n].append(encoded)
            self._table.clear()
            self._grouped_output = parts
        return self._grouped_output


class Parts(NamedTuple):
    """The input of a bundle for each worker."""

    parts: Sequence[Iterable[bytes]]

    def partition(self, n: int) -> Sequence[Iterable[bytes]]:
        """Return the parts."""
        return self.parts


class SmallBundles(fn_runner.ParallelBundleManager):  # type: ignore[misc]
    """Gives the workers bundles of a limited size, one after the other."""

    def process_bundle(
        self, inputs: Mapping[str, Any], expected_outputs: Any, fired_timers: Any, timers: Any, dry_run: bool = False
    ) -> Any:
        """Process one bundle per worker after the other, and return what they have told together."""
        results, splits = [], []
        for some in divide(inputs, self._num_workers):
            result, split = super().process_bundle(some, expected_outputs, fired_timers, timers, dry_run)
            results.append(result)
            splits += split
        return reduce(_join, results), splits


def divide(inputs: Mapping[str, Any], workers: int) -> Iterator[dict[str, Parts]]:
    """Divide the inputs of a step, each a buffer, into such for one bundle per worker."""
    names = list(inputs)
    bundles = [list(_bundles(part)) for name in names for part in inputs[name].partition(workers)]
    for some in zip_longest(*bundles, fillvalue=()):
        yield {name: Parts(some[number * workers : (number + 1) * workers]) for number, name in enumerate(names)}


def _bundles(part: Iterable[bytes]) -> Iterator[Iterable[bytes]]:
    """Divide what a worker gets; a step without input has a bundle, too."""
    if not isinstance(part, Spool):
        yield part
        return
    begin = size = 0
    for end, place in enumerate(part.places, start=1):
        size += place.length
        if size >= BUNDLE:
            yield part[begin:end]
            begin, size = end, 0
    if size or not begin:
        yield part[begin:]


def _join(
    one: beam_fn_api_pb2.InstructionResponse, other: beam_fn_api_pb2.InstructionResponse
) -> beam_fn_api_pb2.InstructionResponse:
    infos = chain(one.process_bundle.monitoring_infos, other.process_bundle.monitoring_infos)
    response = beam_fn_api_pb2.ProcessBundleResponse(monitoring_infos=monitoring_infos.consolidate(infos))
    return beam_fn_api_pb2.InstructionResponse(process_bundle=response, error=one.error or other.error)


if __name__ == "__main__":
    main()
