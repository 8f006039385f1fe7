"""Steps that merge staged files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines import storage
from pipelines.job.steps.outputs import Step
from pipelines.output.commit import StagedFile
from pipelines.output.merging import Group, merge, plan_merges
from pipelines.output.run import Run


class PlanMerges(Step):
    """Divide all staged files into groups to merge."""

    def process(self, _: bytes, files: Iterable[StagedFile]) -> Iterator[Group]:
        yield from plan_merges(files)


class JoinFiles(Step):
    """Merge the files of a group."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def setup(self) -> None:
        storage.use(self._run.access)

    def process(self, group: Group) -> Iterator[StagedFile]:
        yield from merge(self._run, group)
