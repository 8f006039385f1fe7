"""Steps that settle what becomes of each name: to be read, tagged already, or a failure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from apache_beam.pvalue import TaggedOutput

from pipelines import archives, storage
from pipelines.archives.packed import pack, unpack, unpack_paths
from pipelines.job import counters
from pipelines.job.steps.step import (
    COUNTED,
    FOUND,
    POSTPONED,
    SUPERSEDED,
    UNLISTED,
    RunStep,
    Step,
    in_window,
    sort_out,
)
from pipelines.output.closing import check_not_ended
from pipelines.output.earlier import EarlierPart, EarlierRows, read_earlier
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.stale import ReadThrough, find_fault, find_stale
from pipelines.output.written import Superseded
from pipelines.reading.source import stream_of
from pipelines.records import Failure, ImageRef, Listed, failed
from pipelines.supervision import progress

_FOUND_AT_ONCE = 1 << 16
"""Bytes of digests that are passed on together: Beam's overhead per element is larger than a digest."""

_NAMES_PER_PACK = 64
"""Images that one worker reads in a row where they need not be read together: a fifth of a second of a core."""


class Settled(NamedTuple):
    """What becomes of a name.

    Attributes:
      item: to be read, or a failure; None if an earlier run has tagged the image.
      superseded: rows of windows that its scene has no more, or of a fault that its archive has no more.
      known: whether the image has an earlier row.
      own: whether that is of an earlier wave of the same run.
    """

    item: Listed | None
    superseded: Sequence[Superseded]
    known: bool
    own: bool = False


def settle(run: Run, earlier: EarlierRows, listed: Listed) -> Settled:
    """Decide what becomes of a name, by the earlier row of its image, if it has one."""
    if isinstance(listed, ImageRef) and not all(map(run.holds, listed.named)):
        reason = f"it is not below --relative_to {run.relative_to}"
        if listed.place is None and archives.split_member(listed.path)[1] is not None:
            reason = (
                "its name looks like a member of an archive (::), which --relative_to cannot express; rename the file"
            )
        listed = failed(listed, "list", "ValueError", reason)
    path = run.known_as(listed.path)
    superseded = () if run.overwrite else tuple(find_stale(earlier, run, listed))
    row = earlier.find(path, listed.fingerprint)
    if row and (row.tagged or row.own):
        return Settled(None, superseded, True, row.own)
    return Settled(listed._replace(replaces=row.file) if row else listed, superseded, bool(row))


class LeaveOutTagged(RunStep):
    """Pass on untagged images; count per Beam bundle what came in and what was left out.

    An overwrite also passes on the digests of the paths of all images that have a row in its shadow folder.
    """

    def start_bundle(self) -> None:
        check_not_ended(self._run)
        self._earlier = read_earlier(self._run.folder, self._run.name)
        # Counted here, per bundle: counting with Beam would take a dozen more steps.
        self._inputs = self._skipped = 0
        self._found = bytearray()

    def process(self, listed: Listed) -> Iterator[Any]:
        self._inputs += 1
        counters.LISTED.inc()
        settled = settle(self._run, self._earlier, listed)
        for row in settled.superseded:
            yield TaggedOutput(SUPERSEDED, row)
        if settled.known and self._run.overwrite:
            self._found += storage.digest_path(self._run.known_as(listed.path))
            if len(self._found) >= _FOUND_AT_ONCE:
                yield TaggedOutput(FOUND, bytes(self._found))
                self._found.clear()
        if settled.item is None:
            self._skipped += 1
            _count_skipped(self._run)
            return
        yield sort_out(settled.item, self._run)

    def finish_bundle(self) -> Iterator[Any]:
        yield in_window(TaggedOutput(COUNTED, Accounts(inputs=self._inputs, skipped=self._skipped)))
        if self._found:
            yield in_window(TaggedOutput(FOUND, bytes(self._found)))


class SettlePartition(RunStep):
    """Settle the names of a partition, each once, next to the earlier rows of the same partition.

    It passes on the images to read, packed, by what they are read together with; those beyond `most` it counts, and
    leaves them to a later wave. An overwrite also passes on the rows of its shadow folder whose images were not listed.
    """

    def __init__(self, run: Run, wave: Wave, most: int | None = None) -> None:
        super().__init__(run)
        self._wave = wave
        self._most = most

    def start_bundle(self) -> None:
        check_not_ended(self._run)

    def process(self, partition: tuple[int, Iterable[bytes | EarlierPart | ReadThrough]]) -> Iterator[Any]:
        number, packs = partition
        names, parts, archives = _sort(packs)
        earlier = EarlierRows.of_parts(self._run.folder, parts)
        for archive in () if self._run.overwrite else archives:
            for row in find_fault(earlier, archive):
                yield TaggedOutput(SUPERSEDED, row)
        reads = _Reads(number, self._most)
        skipped = failed = postponed = 0
        found = bytearray()
        for listed in each_once(names):
            settled = settle(self._run, earlier, listed)
            for row in settled.superseded:
                yield TaggedOutput(SUPERSEDED, row)
            if settled.known and self._run.overwrite:
                found += storage.digest_path(self._run.known_as(listed.path))
            if settled.item is None:
                # What this run has tagged was counted in its own wave.
                if not settled.own:
                    skipped += 1
                    if self._wave.is_first:
                        _count_skipped(self._run)
            elif isinstance(settled.item, Failure):
                failed += 1
                yield sort_out(settled.item, self._run)
            elif reads.takes(settled.item):
                yield from reads.put(settled.item)
            else:
                postponed += 1
        yield from reads.rest()
        inputs = reads.count + failed + skipped
        counters.LISTED.inc(inputs if self._wave.is_first else inputs - skipped)
        yield TaggedOutput(COUNTED, Accounts(inputs=inputs, skipped=skipped))
        if postponed:
            yield TaggedOutput(POSTPONED, postponed)
        if self._run.overwrite:
            earlier.mark_listed(bytes(found))
            for rows in earlier.unlisted():
                yield TaggedOutput(UNLISTED, rows)


class _Reads:
    """The images of a partition that are to be read, in packs of what is read together.

    Attributes:
      count: of those taken.
    """

    def __init__(self, partition: int, most: int | None) -> None:
        self.count = 0
        self._partition = partition
        self._most = most
        self._last: str | None = None
        self._waiting: dict[str, list[ImageRef]] = defaultdict(list)

    def takes(self, ref: ImageRef) -> bool:
        """Return whether another image may be read; what is read together with the last one always may."""
        stream = stream_of(ref)
        return self._most is None or self.count < self._most or (stream is not None and stream == self._last)

    def put(self, ref: ImageRef) -> Iterator[tuple[str, bytes]]:
        """Take an image, and yield a pack that is full."""
        self._last = stream_of(ref)
        key = self._last or f"{self._partition}.{self.count // _NAMES_PER_PACK}"
        self.count += 1
        waiting = self._waiting[key]
        waiting.append(ref)
        if len(waiting) == _NAMES_PER_PACK:
            del self._waiting[key]
            yield key, pack(enumerate(waiting))

    def rest(self) -> Iterator[tuple[str, bytes]]:
        """Yield the packs that are not full."""
        return ((key, pack(enumerate(refs))) for key, refs in self._waiting.items())


def _sort(
    packs: Iterable[bytes | EarlierPart | ReadThrough],
) -> tuple[list[bytes], list[EarlierPart], list[ReadThrough]]:
    """Sort packs of names, earlier rows, and archives that can be read."""
    names: list[bytes] = []
    parts: list[EarlierPart] = []
    archives: list[ReadThrough] = []
    for packed in packs:
        if isinstance(packed, EarlierPart):
            parts.append(packed)
        elif isinstance(packed, ReadThrough):
            archives.append(packed)
        else:
            names.append(packed)
    return names, parts, archives


def each_once(packs: Sequence[bytes]) -> Iterator[Listed]:
    """Yield packed names, of those with the same path the one with the lowest number."""
    lowest: dict[bytes, int] = {}
    for packed in packs:
        for number, name in unpack_paths(packed):
            path = storage.digest_path(name)
            lowest[path] = min(number, lowest.get(path, number))
    for packed in packs:
        for number, listed in unpack(packed):
            path = storage.digest_path(listed.path)
            if lowest.get(path) == number:
                # Members of an archive share its number.
                del lowest[path]
                yield listed


class PutInOrder(Step):
    """Pass on the images of one key in the order of their stream."""

    def process(self, keyed: tuple[str, Iterable[bytes]]) -> Iterator[ImageRef]:
        refs = [ref for packed in keyed[1] for _, ref in unpack(packed) if isinstance(ref, ImageRef)]
        yield from sorted(refs, key=_start)


def _start(ref: ImageRef) -> tuple[int, int]:
    if ref.window:
        return ref.window.row, ref.window.column
    return (ref.place.start if ref.place else 0), 0


def _count_skipped(run: Run) -> None:
    counters.SKIPPED.inc()
    progress.report(run.name, done=1, skipped=1)
