"""Count the failures of an output by reason, with examples of each."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.output.run import FAILURES
from pipelines.results.outputs import Output
from pipelines.results.report.choosing import Best

_EXAMPLES = 5
_MOST_REASONS = 100

_FIELDS = pa.schema([(name, pa.string()) for name in ("path", "stage", "error", "message", "fingerprint")])


class Example(NamedTuple):
    """A failure; the attributes are the columns of `failures/`."""

    path: str
    stage: str
    error: str
    message: str
    fingerprint: str


class Reason(NamedTuple):
    """A kind of failure.

    Attributes:
      stage: where it happened.
      error: the kind of error.
      rows: number of failures.
      examples: some of them, drawn at random.
    """

    stage: str
    error: str
    rows: int
    examples: tuple[Example, ...]


def count_failures(output: Output, seed: int) -> list[Reason]:
    """Count failures by reason, the most frequent first.

    Args:
      output: the output; its failures are read piece by piece.
      seed: of the choice of examples.

    Raises:
      NoOutputError: scenetags did not write the failures.
      OutputError: a file is damaged.
    """
    counts: Counter[tuple[str, str]] = Counter()
    best: dict[tuple[str, str], Best] = {}
    held: dict[int, Example] = {}
    chance, first = np.random.default_rng(seed), 0
    for batch in output.pieces(_FIELDS, missing=("message", "fingerprint"), table=FAILURES):
        keys = chance.random(batch.num_rows)
        reasons = list(zip(*(batch.column(name).to_pylist() for name in ("stage", "error")), strict=True))
        counts.update(reasons)
        places: dict[tuple[str, str], list[int]] = {}
        for place, reason in enumerate(reasons):
            if reason in best or len(best) < _MOST_REASONS:
                places.setdefault(reason, []).append(place)
                best.setdefault(reason, Best(_EXAMPLES))
        for reason, of_reason in places.items():
            chosen = best[reason]
            chosen.offer(keys[of_reason], first + np.array(of_reason))
            new = chosen.rows[chosen.rows >= first]
            rows = batch.take(pa.array(new - first)).to_pylist()
            held |= {
                number: Example(**{name: value or "" for name, value in row.items()})
                for number, row in zip(new.tolist(), rows, strict=True)
            }
        first += batch.num_rows
    return [
        Reason(stage or "", error or "", count, tuple(held[row] for row in best[stage, error].rows.tolist()))
        for (stage, error), count in counts.most_common()
        if (stage, error) in best
    ]
