"""Write windows as GeoJSON, one after another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from pipelines.output.schema import NOVELTY
from pipelines.results.maps.footprints import Counts, Footprints, spell_time

DIGITS = 7
"""Decimal places of a coordinate, in degrees: a centimetre."""


def write_features(footprints: Iterable[Footprints], columns: Sequence[str], file: TextIO) -> Counts:
    """Write a feature collection, of which memory never holds more than a piece.

    Args:
      footprints: windows of an output, piece by piece.
      columns: names of the properties that hold the probabilities.
      file: to write to.

    Returns:
      The counts of all pieces.

    Raises:
      OSError: the file cannot be written.
    """
    counts = Counts()
    separator = '{"type": "FeatureCollection", "features": [\n'
    for piece in footprints:
        counts += piece.counts
        for feature in _features(piece, columns):
            # Escapes also what is no valid text by itself.
            file.write(f"{separator}{json.dumps(feature)}")
            separator = ",\n"
    file.write(f"{separator if not counts.shown else ''}\n]}}\n")
    return counts


def _features(piece: Footprints, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    rows = zip(piece.rows.to_pylist(), piece.outlines.windows(), piece.probabilities, strict=True)
    for row, rings, probabilities in rows:
        by_column = {name: _shortest(value) for name, value in zip(columns, probabilities, strict=True)}
        novelty = {NOVELTY.name: _shortest(np.float32(row[NOVELTY.name]))} if row.get(NOVELTY.name) is not None else {}
        properties = row | {"datetime": spell_time(row["datetime"])} | novelty | by_column
        yield {"type": "Feature", "geometry": _geometry(rings), "properties": properties}


def _shortest(value: np.float32) -> float:
    """Return the number of the shortest text that leads back to a float32."""
    return float(str(value))


def _geometry(rings: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    rounded = [[[round(number, DIGITS) for number in vertex] for vertex in (*ring, ring[0])] for ring in rings]
    if len(rounded) == 1:
        return {"type": "Polygon", "coordinates": rounded}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rounded]}
