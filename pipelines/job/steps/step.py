"""What all steps have in common: how they are sent and begin, and what their further outputs are called."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from pipelines import storage
from pipelines.job import counters
from pipelines.job.release import BoundToRelease
from pipelines.output.run import Run
from pipelines.records import Empty, Failure
from pipelines.supervision import progress

FAILED, SUPERSEDED, COUNTED, FOUND, POSTPONED = "failed", "superseded", "counted", "found", "postponed"
EMPTY, UNLISTED, SOURCES, PARTITIONS, REFS = "empty", "unlisted", "sources", "partitions", "refs"
FILES, DAMAGED = "files", "damaged"


class Step(BoundToRelease, beam.DoFn):
    """A function that only workers of the release that launched the job run; others refuse it."""


class RunStep(Step):
    """A step that knows its run, and reaches buckets as that does."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def setup(self) -> None:
        storage.use(self._run.access)


def sort_out(item: Any, run: Run) -> Any:
    """Tag a failure with its own output, and report it now: it is written only when the whole wave is done.

    An empty window likewise.
    """
    if isinstance(item, Empty):
        counters.EMPTY.inc()
        progress.report(run.name, done=1)
        return TaggedOutput(EMPTY, item)
    if not isinstance(item, Failure):
        return item
    counters.FAILED.inc()
    progress.report_failure(run.name, item)
    return TaggedOutput(FAILED, item)


def in_window(item: Any) -> Any:
    """Wrap what is yielded at the end of a Beam bundle, tagged or not: Beam cannot assign it to a window by itself."""
    if isinstance(item, TaggedOutput):
        return TaggedOutput(item.tag, in_window(item.value))
    return GlobalWindows.windowed_value_at_end_of_window(item)
