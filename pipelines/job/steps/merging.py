"""Steps that merge staged files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from apache_beam.pvalue import TaggedOutput

from pipelines.job.steps.step import DAMAGED, RunStep, Step
from pipelines.output.merging import Group, count_rows, merge, plan_merges
from pipelines.output.written import StagedFile

_log = logging.getLogger(__name__)


class PlanMerges(Step):
    """Divide all staged files into groups to merge."""

    def process(self, _: bytes, files: Iterable[StagedFile]) -> Iterator[Group]:
        yield from plan_merges(files)


class JoinFiles(RunStep):
    """Merge the files of a group; of one that is damaged, pass on the number of rows that are lost with it."""

    def process(self, group: Group) -> Iterator[Any]:
        damaged: list[StagedFile] = []
        yield from merge(self._run, group, damaged.append)
        for file in damaged:
            rows, by = count_rows(file), "the next run" if self._run.detached else "this one"
            _log.warning("%s is damaged; the images of its %d rows are tagged again by %s", file.staged, rows, by)
            yield TaggedOutput(DAMAGED, rows)
