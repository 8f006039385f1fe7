"""Steps that only names of images pass through."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from pipelines import storage
from pipelines.archives.packed import PackedNames
from pipelines.job import counters
from pipelines.job.steps.outputs import COUNTED, FOUND, POSTPONED, SUPERSEDED, Step, in_window, sort_out
from pipelines.listing import PATH_COLUMN, list_images
from pipelines.listing.scenes import CutSettings, Cutter
from pipelines.output.closing import check_not_ended
from pipelines.output.commit import Superseded
from pipelines.output.earlier import read_earlier
from pipelines.output.ghosts import find_ghosts
from pipelines.output.run import Accounts, Run
from pipelines.reading.source import stream_of
from pipelines.records import ImageRef, KeptColumn, Listed, digest_path, failed
from pipelines.scenes.documents import NO_DOCUMENTS, Documents
from pipelines.supervision import interruption, progress

_log = logging.getLogger(__name__)
_FOUND_AT_ONCE = 1 << 16
"""Bytes of digests that are passed on together: Beam's overhead per element is larger than a digest."""


class ListNames(Step):
    """List images, and count the names that were passed over."""

    def __init__(
        self,
        inputs: Sequence[str],
        input_list: str | None,
        access: storage.Access,
        path_column: str = PATH_COLUMN,
        kept: Sequence[KeptColumn] = (),
        allow_empty: bool = False,
        documents: Documents = NO_DOCUMENTS,
    ) -> None:
        self._inputs = inputs
        self._input_list = input_list
        self._access = access
        self._path_column = path_column
        self._kept = kept
        self._allow_empty = allow_empty
        self._documents = documents

    def setup(self) -> None:
        storage.use(self._access)

    def process(self, _: bytes) -> Iterator[Any]:
        passed_over: Counter[str] = Counter()
        yield from list_images(
            *(self._inputs, self._input_list, passed_over),
            path_column=self._path_column,
            kept=self._kept,
            allow_empty=self._allow_empty,
            documents=self._documents,
            tell=_log.warning,
        )
        yield TaggedOutput(COUNTED, Accounts(passed_over=passed_over))


class TakeNames(beam.DoFn):
    """Pass on the names of a wave, until its time is up or the run is asked to stop; count those it postpones.

    It never leaves this process. Bound to a release, its names would be compressed twice.
    """

    def __init__(self, names: PackedNames, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._names = names
        self._seconds = seconds
        self._clock = clock

    def process(self, _: bytes) -> Iterator[Any]:
        end = self._clock() + self._seconds
        for taken, listed in enumerate(self._names):
            # At least one, or a run might never end.
            if interruption.asked() or (taken and self._clock() >= end):
                yield TaggedOutput(POSTPONED, len(self._names) - taken)
                return
            yield listed


class Cut(Step):
    """Cut scenes into windows, and open the following ones meanwhile."""

    def __init__(self, cutting: CutSettings, access: storage.Access) -> None:
        self._cutting = cutting
        self._access = access
        self._cutter: Cutter | None = None

    def setup(self) -> None:
        storage.use(self._access)

    def start_bundle(self) -> None:
        self._cutter = Cutter(self._cutting, _log.warning)

    def process(self, listed: Listed) -> Iterator[Listed]:
        assert self._cutter
        yield from self._cutter.put(listed)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        assert self._cutter
        yield from map(in_window, self._cutter.drain())

    def teardown(self) -> None:
        # A bundle that failed was not drained.
        if self._cutter:
            self._cutter.close()


class LeaveOutTagged(Step):
    """Pass on untagged images; count per Beam bundle what came in and what was left out.

    An overwrite also passes on the digests of the paths of all images that have a row in its shadow folder.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def setup(self) -> None:
        storage.use(self._run.access)

    def start_bundle(self) -> None:
        check_not_ended(self._run)
        self._earlier = read_earlier(self._run.folder, self._run.name)
        # Counted here, per bundle: counting with Beam would take a dozen more steps.
        self._inputs = self._skipped = 0
        self._found = bytearray()

    def process(self, listed: Listed) -> Iterator[Any]:
        self._inputs += 1
        counters.LISTED.inc()
        if isinstance(listed, ImageRef) and not all(map(self._run.holds, listed.named)):
            listed = failed(listed, "list", "ValueError", f"it is not below --relative_to {self._run.relative_to}")
        path = self._run.known_as(listed.path)
        if not self._run.overwrite:
            for ghost in find_ghosts(self._earlier, self._run, listed):
                yield TaggedOutput(SUPERSEDED, ghost)
        earlier = self._earlier.find(path, listed.fingerprint)
        if earlier and self._run.overwrite:
            self._found += digest_path(path)
            if len(self._found) >= _FOUND_AT_ONCE:
                yield TaggedOutput(FOUND, bytes(self._found))
                self._found.clear()
        if earlier and earlier.tagged:
            self._skipped += 1
            counters.SKIPPED.inc()
            progress.report(self._run.name, done=1, skipped=1)
            return
        if earlier:
            yield TaggedOutput(SUPERSEDED, Superseded(path, earlier.file))
        yield sort_out(listed, self._run.name)

    def finish_bundle(self) -> Iterator[Any]:
        yield TaggedOutput(COUNTED, in_window(Accounts(inputs=self._inputs, skipped=self._skipped)))
        if self._found:
            yield TaggedOutput(FOUND, in_window(bytes(self._found)))


class KeyByStream(Step):
    """Key images that are read together by their archive or part of a scene, and all others by their own path."""

    def process(self, ref: ImageRef) -> Iterator[tuple[str, ImageRef]]:
        yield stream_of(ref) or ref.path, ref


class PutInOrder(Step):
    """Pass on the images of one key in the order of their stream."""

    def process(self, keyed: tuple[str, Iterable[ImageRef]]) -> Iterator[ImageRef]:
        yield from sorted(keyed[1], key=_start)


def _start(ref: ImageRef) -> tuple[int, int]:
    if ref.window:
        return ref.window.row, ref.window.column
    return (ref.place.start if ref.place else 0), 0
