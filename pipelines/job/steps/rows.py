"""Steps that write rows and commit them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from pipelines.job import counters
from pipelines.job.steps.step import RunStep, in_window
from pipelines.listing import EMPTY_INPUTS
from pipelines.listing.inputs import Inputs
from pipelines.listing.names import keep_commonest
from pipelines.listing.pieces import check_found
from pipelines.output.closing import close_wave
from pipelines.output.identities import Unlisted
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.writing import Table, TableFiles
from pipelines.output.written import StagedFile, Superseded, Written
from pipelines.records import Empty, Failure, Prediction
from pipelines.supervision import interruption, progress

_LEAST_SECONDS, _MOST_SECONDS = 5.0, 60.0
"""Of a staged file that does not wait for the end of its bundle. Each takes as long as all before it, within these
limits: a bundle that is cancelled early loses half of its rows at most, and a long one does not make thousands of
files."""

_log = logging.getLogger(__name__)


class WriteTable(RunStep):
    """Write rows of one table to staged files: per Beam bundle, those of new images to one, and others to another.

    A distributed runner may put hours of work into a bundle, which is lost if it is cancelled, but for the files that
    are finished. There, files are finished every now and then.
    """

    def __init__(
        self, table: Table, run: Run, often: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what to write; with `often`, finish files before a bundle ends, by this clock."""
        self._table = table
        super().__init__(run)
        self._often = often
        self._clock = clock

    def start_bundle(self) -> None:
        self._files = TableFiles(self._table, self._run)
        self._begun = self._due = 0.0

    def process(self, row: Prediction | Failure | Empty) -> Iterable[StagedFile]:
        self._files.write(row)
        if isinstance(row, Prediction):
            counters.TAGGED.inc()
            progress.report(self._run.name, done=1)
        return self._finish_if_due() if self._often else ()

    def finish_bundle(self) -> Iterator[Any]:
        yield from map(in_window, self._files.close())

    def _finish_if_due(self) -> list[StagedFile]:
        now = self._clock()
        if not self._due:
            self._begun, self._due = now, now + _LEAST_SECONDS
        if now < self._due:
            return []
        files = self._files.close()
        self._files = TableFiles(self._table, self._run)
        self._due = now + min(now - self._begun, _MOST_SECONDS)
        return files


class CloseWave(RunStep):
    """Commit the files of a wave."""

    def __init__(self, run: Run, wave: Wave, inputs: Inputs | None = None) -> None:
        super().__init__(run)
        self._wave = wave
        self._inputs = inputs

    def process(
        self,
        _: bytes,
        files: Iterable[StagedFile],
        counted: Iterable[Accounts],
        superseded: Iterable[Superseded],
        postponed: Iterable[int],
        found: Iterable[bytes] = (),
        unlisted: Iterable[Unlisted] | None = None,
        sources: Iterable[int] = (),
        damaged: Iterable[int] = (),
    ) -> Iterator[Accounts]:
        if self._wave.inputs is None:
            # Workers in the launching process know of its signals, but a distributed job is dropped as a whole.
            interruption.check()
        accounts = sum(counted, Accounts())
        if self._inputs and self._wave.is_first:
            # Each worker has kept the commonest of its own.
            passed_over = Counter(accounts.passed_over)
            keep_commonest(passed_over)
            if empty := check_found(self._inputs, set(sources), _log.warning):
                passed_over[EMPTY_INPUTS] += empty
            accounts = replace(accounts, passed_over=passed_over)
        # A detached job has no other wave: it ends with accounts that do not balance, and the next run tags the images.
        lost = 0 if self._run.detached else sum(damaged)
        accounts = replace(accounts, inputs=accounts.inputs - lost)
        wave = self._wave.without(sum(postponed) + lost)
        if self._inputs and not wave.last:
            # Every wave lists all images, and finds those that an earlier run has tagged. The last one counts them:
            # whether an overwrite keeps their rows depends on its listing.
            accounts = replace(accounts, inputs=accounts.inputs - accounts.skipped, skipped=0)
        written = Written(list(files), list(superseded), accounts, found, unlisted)
        yield close_wave(self._run, wave, written)
