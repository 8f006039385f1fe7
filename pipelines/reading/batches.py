"""Read images and run the model on them: in batches, or as the engine prefers."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.inference.ahead import InferenceAhead
from pipelines.inference.predictor import Predictor
from pipelines.reading.ahead import LookAhead, PredictAhead
from pipelines.reading.queues import Queue
from pipelines.reading.source import Source
from pipelines.records import Empty, Failure, Image, ImageRef, Prediction


class PredictInBatches(Queue[Prediction]):
    """A queue that takes names and yields the predictions for their images in the same order.

    For an engine that is faster with batches. An image that fails overtakes those that wait for their batch.
    """

    def __init__(self, source: Source, reads_in_flight: int, predictor: Predictor, batch_size: int) -> None:
        """Start the threads; `source` and `reads_in_flight` are those of `LookAhead`, the rest of `InferenceAhead`."""
        self.postponed = 0
        self._images = LookAhead(source, reads_in_flight)
        self._batches = InferenceAhead(predictor, batch_size)

    @property
    def is_full(self) -> bool:
        """Whether so many images are being read that no more should begin before the next result is taken."""
        return self._images.is_full

    @property
    def is_empty(self) -> bool:
        """Whether no image is ahead."""
        return self._images.is_empty and self._batches.is_empty

    def begin(self, ref: ImageRef) -> None:
        """Begin to work on an image."""
        self._images.begin(ref)

    def next(self) -> Iterator[Prediction | Failure | Empty]:
        """Wait for the oldest image that is being read, and yield the results that are then ready, perhaps none.

        If none is being read, what waits for a batch waits no longer.
        """
        if self._images.is_empty:
            yield from self._batches.drain()
        else:
            for item in self._images.next():
                if isinstance(item, Image):
                    yield from self._batches.put(item)
                else:
                    yield item
        for queue in (self._images, self._batches):
            self.postponed += queue.postponed
            queue.postponed = 0

    def close(self) -> None:
        """Abandon work in progress and close the source."""
        self._images.close()
        self._batches.close()


def predicting(source: Source, reads_in_flight: int, predictor: Predictor, batch_size: int) -> Queue[Prediction]:
    """Start the queue that is best for an engine; the arguments are those of `PredictInBatches`."""
    if predictor.engine.takes_batches:
        return PredictInBatches(source, reads_in_flight, predictor, batch_size)
    return PredictAhead(source, reads_in_flight, predictor)
