"""Divide what is in a bucket into ranges that take about as long to list."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.listing.buckets import Area


def divide_area(area: Area) -> Iterator[Area]:
    """Divide an area into ranges, in order, which together are the area."""
    yield area
