"""The step that reads images and runs the model on them, ahead of the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from apache_beam.pvalue import TaggedOutput

from pipelines import storage
from pipelines.images.decoding import ignore_metadata_warnings
from pipelines.inference.ahead import Model
from pipelines.job import processes
from pipelines.job.processes import PredictInProcesses
from pipelines.job.steps.outputs import POSTPONED, Step, in_window, sort_out
from pipelines.reading.batches import predicting
from pipelines.reading.queues import Queue
from pipelines.reading.source import ImageSource
from pipelines.records import ImageRef, Prediction


class ReadAndPredict(Step):
    """Read images and run the model on them, and count those it postpones because the run is asked to stop.

    It works ahead of the next step: it passes on the result of an image along with a later one.

    `open_source` is called on the worker, `reads_in_flight` is that of `LookAhead`.
    """

    def __init__(
        self,
        open_source: Callable[[], ImageSource],
        reads_in_flight: int,
        model: Model,
        run: str,
        access: storage.Access,
    ) -> None:
        self._open_source = open_source
        self._reads_in_flight = reads_in_flight
        self._model = model
        self._run = run
        self._access = access

    def setup(self) -> None:
        storage.use(self._access)
        # Warnings silenced in the launching process are not silenced in a worker.
        ignore_metadata_warnings()
        self._ahead: Queue[Prediction]
        if children := processes.at_work():
            self._ahead = PredictInProcesses(children)
            return
        predictor = self._model.load()
        self._ahead = predicting(self._open_source(), self._reads_in_flight, predictor, self._model.batch_size)

    def start_bundle(self) -> None:
        self._ahead.postponed = 0

    def process(self, ref: ImageRef) -> Iterator[Any]:
        for item in self._ahead.put(ref):
            yield sort_out(item, self._run)

    def finish_bundle(self) -> Iterator[Any]:
        for item in self._ahead.drain():
            sorted_out = sort_out(item, self._run)
            is_tagged = isinstance(sorted_out, TaggedOutput)
            yield TaggedOutput(sorted_out.tag, in_window(item)) if is_tagged else in_window(item)
        if self._ahead.postponed:
            yield TaggedOutput(POSTPONED, in_window(self._ahead.postponed))

    def teardown(self) -> None:
        self._ahead.close()
