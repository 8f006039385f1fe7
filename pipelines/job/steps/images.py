"""The step that reads images and runs the model on them, ahead of the next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apache_beam.pvalue import TaggedOutput

from pipelines.job import processes
from pipelines.job.predicting import PredictSettings
from pipelines.job.processes import PredictInProcesses
from pipelines.job.steps.step import POSTPONED, RunStep, in_window, sort_out
from pipelines.output.run import Run
from pipelines.reading.queues import Queue
from pipelines.records import ImageRef, Prediction


class ReadAndPredict(RunStep):
    """Read images and run the model on them, and count those it postpones because the run is asked to stop.

    It works ahead of the next step: it passes on the result of an image along with a later one.
    """

    def __init__(self, run: Run, settings: PredictSettings) -> None:
        super().__init__(run)
        self._settings = settings

    def setup(self) -> None:
        children = processes.at_work()
        self._ahead: Queue[Prediction] = PredictInProcesses(children) if children else self._settings.start()

    def start_bundle(self) -> None:
        self._ahead.postponed = 0

    def process(self, ref: ImageRef) -> Iterator[Any]:
        for item in self._ahead.put(ref):
            yield sort_out(item, self._run)

    def finish_bundle(self) -> Iterator[Any]:
        for item in self._ahead.drain():
            yield in_window(sort_out(item, self._run))
        if self._ahead.postponed:
            yield in_window(TaggedOutput(POSTPONED, self._ahead.postponed))

    def teardown(self) -> None:
        self._ahead.close()
