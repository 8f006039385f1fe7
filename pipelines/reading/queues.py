"""Queues that take names of images and yield what becomes of them, while they work on later ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from pipelines.records import Empty, Failure, ImageRef

Result = TypeVar("Result")


class Queue(ABC, Generic[Result]):
    """A queue that takes names and yields, for each image, a result, a `Failure` or an `Empty`.

    Once the run is asked to stop, it yields what is finished in time and postpones the rest.

    Attributes:
      postponed: images that were neither finished nor refused.
    """

    postponed: int

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether so many images are ahead that no more should begin before the next result is taken."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether no image is ahead."""

    @abstractmethod
    def begin(self, ref: ImageRef) -> None:
        """Begin to work on an image."""

    @abstractmethod
    def next(self) -> Iterator[Result | Failure | Empty]:
        """Wait for the oldest image that is ahead, and yield the results that are then ready, perhaps none."""

    @abstractmethod
    def close(self) -> None:
        """Abandon work in progress."""

    def put(self, ref: ImageRef) -> Iterator[Result | Failure | Empty]:
        """Begin to work on an image; once the queue is full, yield the results of some that were put earlier."""
        self.begin(ref)
        if self.is_full:
            yield from self.next()

    def drain(self) -> Iterator[Result | Failure | Empty]:
        """Yield the remaining results."""
        while not self.is_empty:
            yield from self.next()

    def read(self, refs: Iterable[ImageRef]) -> Iterator[Result | Failure | Empty]:
        """Work on images and yield the results."""
        for ref in refs:
            yield from self.put(ref)
        yield from self.drain()
