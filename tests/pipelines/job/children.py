"""Run children on images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pipelines.listing import list_images
from pipelines.reading.queues import Queue
from pipelines.records import Empty, Failure, ImageRef, Prediction

Results = list[Prediction | Failure | Empty]


def listed(*inputs: Path) -> list[ImageRef]:
    return [ref for ref in list_images([str(path) for path in inputs]) if isinstance(ref, ImageRef)]


def everything(ahead: Queue[Prediction], refs: Sequence[ImageRef]) -> Results:
    with closing(ahead):
        return list(ahead.read(refs))
