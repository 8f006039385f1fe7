"""Steps that read images and run the model on them, ahead of the next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apache_beam.pvalue import TaggedOutput

from pipelines import storage
from pipelines.images.decoding import DecodeSettings, ignore_metadata_warnings
from pipelines.images.limits import Limits
from pipelines.inference.ahead import InferenceAhead, Model
from pipelines.job.steps.outputs import POSTPONED, Step, in_window, sort_out
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.scenes.grid import NO_GRID, Grid


class _WorkAhead(Step):
    """A step that works ahead of the next one: it passes on the result of an element along with a later element."""

    _ahead: LookAhead | InferenceAhead
    _run: str

    def process(self, element: Any) -> Iterator[Any]:
        for item in self._ahead.put(element):
            yield sort_out(item, self._run)

    def finish_bundle(self) -> Iterator[Any]:
        for item in self._ahead.drain():
            sorted_out = sort_out(item, self._run)
            is_tagged = isinstance(sorted_out, TaggedOutput)
            yield TaggedOutput(sorted_out.tag, in_window(item)) if is_tagged else in_window(item)

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
            yield TaggedOutput(POSTPONED, in_window(self._ahead.postponed))


class PredictAhead(_WorkAhead):
    """Run a model on images."""

    def __init__(self, model: Model, run: str) -> None:
        self._model = model
        self._run = run

    def setup(self) -> None:
        self._ahead = InferenceAhead(self._model.load(), self._model.batch_size)
