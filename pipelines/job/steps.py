"""The functions behind the transforms, which workers run: thin wrappers around code that is independent of Beam."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipelines import storage
from pipelines.archives import is_streamed
from pipelines.archives.packed import PackedNames
from pipelines.images.decoding import DecodeSettings, ignore_metadata_warnings
from pipelines.images.limits import Limits
from pipelines.inference.ahead import InferenceAhead, Model
from pipelines.job import counters
from pipelines.job.release import BoundToRelease
from pipelines.listing import PATH_COLUMN, list_images
from pipelines.listing.scenes import CutSettings, Cutter
from pipelines.output.closing import check_not_ended, close_wave
from pipelines.output.commit import StagedFile, Superseded, Written
from pipelines.output.earlier import read_earlier
from pipelines.output.ghosts import find_ghosts
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.writing import Table, TableWriter
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, ImageRef, Listed, Prediction, digest_path
from pipelines.scenes.grid import NO_GRID, Grid
from pipelines.supervision import interruption, progress

FAILED, SUPERSEDED, COUNTED, FOUND, POSTPONED = "failed", "superseded", "counted", "found", "postponed"
EMPTY = "empty"

_log = logging.getLogger(__name__)
_FOUND_AT_ONCE = 1 << 16
"""Bytes of digests that are passed on together: Beam's overhead per element is larger than a digest."""


class _Step(BoundToRelease, beam.DoFn):
    """A function that only workers of the release that launched the job run; others refuse it."""


class ListNames(_Step):
    """List images, and count the names that were passed over."""

    def __init__(
        self,
        inputs: Sequence[str],
        input_list: str | None,
        access: storage.Access,
        path_column: str = PATH_COLUMN,
        allow_empty: bool = False,
        asset: str | None = None,
    ) -> None:
        self._inputs = inputs
        self._input_list = input_list
        self._access = access
        self._path_column = path_column
        self._allow_empty = allow_empty
        self._asset = asset

    def setup(self) -> None:
        storage.use(self._access)

    def process(self, _: bytes) -> Iterator[Any]:
        passed_over: Counter[str] = Counter()
        yield from list_images(
            *(self._inputs, self._input_list, passed_over),
            path_column=self._path_column,
            allow_empty=self._allow_empty,
            asset=self._asset,
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


class Cut(_Step):
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
        yield from map(_in_window, self._cutter.drain())

    def teardown(self) -> None:
        # A bundle that failed was not drained.
        if self._cutter:
            self._cutter.close()


class LeaveOutTagged(_Step):
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
        if self._run.grid and not self._run.overwrite:
            for ghost in find_ghosts(self._earlier, self._run.grid, listed):
                yield TaggedOutput(SUPERSEDED, ghost)
        earlier = self._earlier.find(listed.path, listed.fingerprint)
        if earlier and self._run.overwrite:
            self._found += digest_path(listed.path)
            if len(self._found) >= _FOUND_AT_ONCE:
                yield TaggedOutput(FOUND, bytes(self._found))
                self._found.clear()
        if earlier and earlier.tagged:
            self._skipped += 1
            counters.SKIPPED.inc()
            progress.report(self._run.name, done=1, skipped=1)
            return
        if earlier:
            yield TaggedOutput(SUPERSEDED, Superseded(listed.path, earlier.file))
        yield _sort_out(listed, self._run.name)

    def finish_bundle(self) -> Iterator[Any]:
        yield TaggedOutput(COUNTED, _in_window(Accounts(inputs=self._inputs, skipped=self._skipped)))
        if self._found:
            yield TaggedOutput(FOUND, _in_window(bytes(self._found)))


class KeyByStream(_Step):
    """Key images that are read together by their archive or part of a scene, and all others by their own path."""

    def process(self, ref: ImageRef) -> Iterator[tuple[str, ImageRef]]:
        if ref.window:
            yield f"{ref.window.scene}#{ref.window.part}", ref
        else:
            yield ref.place.archive if ref.place and is_streamed(ref) else ref.path, ref


class PutInOrder(_Step):
    """Pass on the images of one key in the order of their stream."""

    def process(self, keyed: tuple[str, Iterable[ImageRef]]) -> Iterator[ImageRef]:
        yield from sorted(keyed[1], key=_start)


class _WorkAhead(_Step):
    """A step that works ahead of the next one: it passes on the result of an element along with a later element."""

    _ahead: LookAhead | InferenceAhead
    _run: str

    def process(self, element: Any) -> Iterator[Any]:
        for item in self._ahead.put(element):
            yield _sort_out(item, self._run)

    def finish_bundle(self) -> Iterator[Any]:
        for item in self._ahead.drain():
            sorted_out = _sort_out(item, self._run)
            is_tagged = isinstance(sorted_out, TaggedOutput)
            yield TaggedOutput(sorted_out.tag, _in_window(item)) if is_tagged else _in_window(item)

    def teardown(self) -> None:
        self._ahead.close()


class ReadAhead(_WorkAhead):
    """Read images, and count those it postpones because the run is asked to stop.

    The first three arguments and the last are those of `ImageSource`, `reads_in_flight` is that of `LookAhead`.
    """

    _ahead: LookAhead

    def __init__(
        self,
        decoding: DecodeSettings,
        limits: Limits,
        threads: int | None,
        reads_in_flight: int,
        run: str,
        access: storage.Access,
        grid: Grid = NO_GRID,
    ) -> None:
        self._settings = decoding, limits, threads, None, grid
        self._reads_in_flight = reads_in_flight
        self._run = run
        self._access = access

    def setup(self) -> None:
        storage.use(self._access)
        # Warnings silenced in the launching process are not silenced in a worker.
        ignore_metadata_warnings()
        self._ahead = LookAhead(ImageSource(*self._settings), self._reads_in_flight)

    def start_bundle(self) -> None:
        self._ahead.postponed = 0

    def finish_bundle(self) -> Iterator[Any]:
        yield from super().finish_bundle()
        if self._ahead.postponed:
            yield TaggedOutput(POSTPONED, _in_window(self._ahead.postponed))


class PredictAhead(_WorkAhead):
    """Run a model on images."""

    def __init__(self, model: Model, run: str) -> None:
        self._model = model
        self._run = run

    def setup(self) -> None:
        self._ahead = InferenceAhead(self._model.load(), self._model.batch_size)


class WriteTable(_Step):
    """Write rows of one table to a staged file per Beam bundle."""

    def __init__(self, table: Table, run: Run) -> None:
        self._table = table
        self._run = run

    def setup(self) -> None:
        storage.use(self._run.access)

    def start_bundle(self) -> None:
        self._writer = TableWriter(self._table, self._run)

    def process(self, row: Prediction | Failure | Empty) -> None:
        self._writer.write(row)
        if isinstance(row, Prediction):
            counters.TAGGED.inc()
            progress.report(self._run.name, done=1)

    def finish_bundle(self) -> Iterator[Any]:
        file = self._writer.close()
        if file:
            yield _in_window(file)


class CloseWave(_Step):
    """Commit the files of a wave."""

    def __init__(self, run: Run, wave: Wave) -> None:
        self._run = run
        self._wave = wave

    def setup(self) -> None:
        storage.use(self._run.access)

    def process(
        self,
        _: bytes,
        files: Iterable[StagedFile],
        counted: Iterable[Accounts],
        superseded: Iterable[Superseded],
        found: Iterable[bytes],
        postponed: Iterable[int],
    ) -> Iterator[Accounts]:
        if self._wave.inputs is None:
            # Workers in the launching process know of its signals, but a distributed job is dropped as a whole.
            interruption.check()
        written = Written(list(files), list(superseded), sum(counted, Accounts()), found)
        yield close_wave(self._run, self._wave.without(sum(postponed)), written)


def _start(ref: ImageRef) -> tuple[int, int]:
    if ref.window:
        return ref.window.row, ref.window.column
    return (ref.place.start if ref.place else 0), 0


def _sort_out(item: Any, run: str) -> Any:
    """Tag a failure with its own output, and report it now: it is written only when the whole wave is done.

    An empty window likewise.
    """
    if isinstance(item, Empty):
        counters.EMPTY.inc()
        progress.report(run, done=1)
        return TaggedOutput(EMPTY, item)
    if not isinstance(item, Failure):
        return item
    counters.FAILED.inc()
    progress.report_failure(run, item)
    return TaggedOutput(FAILED, item)


def _in_window(value: Any) -> WindowedValue:
    """Wrap a value yielded at the end of a Beam bundle, which Beam cannot assign to a window by itself."""
    return GlobalWindows.windowed_value_at_end_of_window(value)
