"""Placeholder."""

from pipelines.records import Footprint
from pipelines.scenes.georeference import Georeference


def locate(georeference: Georeference, column: int, row: int, width: int, height: int) -> Footprint:
    return Footprint()
