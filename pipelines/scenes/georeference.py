"""Placeholder."""

from collections.abc import Mapping
from typing import NamedTuple


class Georeference(NamedTuple):
    transform: tuple[float, ...]
    crs: str
    taken: str


def read_georeference(tags: Mapping[int, bytes], order: str) -> Georeference | None:
    return Georeference((), "", "") if 33550 in tags or 34264 in tags else None
