"""Read a single image as a queue does, fetching it and then decoding it."""

from __future__ import annotations

from pipelines.reading.fetched import Read, Refusal
from pipelines.reading.source import Source
from pipelines.records import ImageRef


def read_single(source: Source, ref: ImageRef) -> Read:
    fetched = source.fetch(ref)
    return fetched if fetched is None or isinstance(fetched, Refusal) else fetched.decode()
