"""Rank selected rows by a score, and keep the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.output.schema import NOVELTY

_PATH, _SCORE = "path", "score"


class Ranking(NamedTuple):
    """The order of selected rows.

    Attributes:
      order: what they are ranked by, as an expression of DuckDB's SQL.
      scores: by path, the largest first.
      heading: of the scores where they are shown; empty if they are a column of the output.
    """

    order: str
    scores: Mapping[str, float]
    heading: str = ""


def score(paths: pa.Array, scores: pa.Array) -> pa.Table:
    """Return rows to be ranked."""
    return pa.table({_PATH: paths, _SCORE: scores})


def rank(scored: Iterable[pa.Table], top: int) -> dict[str, float]:
    """Return the scores of the rows with the largest ones by their paths, the largest first, equal ones by path.

    Args:
      scored: rows, as `score` makes them; a row without a score has no rank.
      top: number of rows.
    """
    best = score(pa.array([], pa.string()), pa.array([], pa.float32()))
    for piece in scored:
        rows = pa.concat_tables([best, piece.filter(pc.is_valid(piece.column(_SCORE)))])
        best = rows.sort_by([(_SCORE, "descending"), (_PATH, "ascending")]).slice(0, top)
    return dict(zip(best.column(_PATH).to_pylist(), best.column(_SCORE).to_pylist(), strict=True))


def score_novelty(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Score rows by how strange their images are; `batches` hold paths and novelty."""
    return (score(batch.column(_PATH), batch.column(NOVELTY.name)) for batch in batches)
