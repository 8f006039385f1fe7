"""The step that takes the names of a wave of a local run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from pipelines.archives.packed import PackedNames
from pipelines.job.steps.step import POSTPONED
from pipelines.supervision import interruption


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
