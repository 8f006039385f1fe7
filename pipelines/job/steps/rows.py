"""Steps that write rows and commit them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pipelines import storage
from pipelines.job import counters
from pipelines.job.steps.listing import Inputs
from pipelines.job.steps.outputs import Step, in_window
from pipelines.listing import EMPTY_INPUTS
from pipelines.listing.pieces import check_found
from pipelines.output.closing import close_wave
from pipelines.output.commit import StagedFile, Superseded, Written
from pipelines.output.earlier import Unlisted
from pipelines.output.run import Accounts, Run, Wave
from pipelines.output.writing import Table, TableFiles
from pipelines.records import Empty, Failure, Prediction
from pipelines.supervision import interruption, progress

_log = logging.getLogger(__name__)


class WriteTable(Step):
    """Write rows of one table to staged files, at most two per Beam bundle."""

    def __init__(self, table: Table, run: Run) -> None:
        self._table = table
        self._run = run

    def setup(self) -> None:
        storage.use(self._run.access)

    def start_bundle(self) -> None:
        self._files = TableFiles(self._table, self._run)

    def process(self, row: Prediction | Failure | Empty) -> None:
        self._files.write(row)
        if isinstance(row, Prediction):
            counters.TAGGED.inc()
            progress.report(self._run.name, done=1)

    def finish_bundle(self) -> Iterator[Any]:
        yield from map(in_window, self._files.close())


class CloseWave(Step):
    """Commit the files of a wave."""

    def __init__(self, run: Run, wave: Wave, inputs: Inputs | None = None) -> None:
        self._run = run
        self._wave = wave
        self._inputs = inputs

    def setup(self) -> None:
        storage.use(self._run.access)

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
    ) -> Iterator[Accounts]:
        if self._wave.inputs is None:
            # Workers in the launching process know of its signals, but a distributed job is dropped as a whole.
            interruption.check()
        accounts = sum(counted, Accounts())
        if self._inputs:
            named = self._inputs.patterns, self._inputs.input_list
            if empty := check_found(*named, set(sources), self._inputs.allow_empty, _log.warning):
                accounts += Accounts(passed_over=Counter({EMPTY_INPUTS: empty}))
        written = Written(list(files), list(superseded), accounts, found, unlisted)
        yield close_wave(self._run, self._wave.without(sum(postponed)), written)
