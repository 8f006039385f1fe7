"""Sum up what the sample of a plan shows."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.inference import shift
from pipelines.inference.intervals import Interval
from pipelines.inference.scale import count_oversized
from pipelines.output.run import Accounts, Run
from pipelines.output.tables import PARQUET_OPTIONS
from pipelines.output.writing import PredictionTable
from pipelines.planning import estimate
from pipelines.planning.census import Census
from pipelines.planning.proposal import Count, Reason, Sampled
from pipelines.planning.sampling import Sample
from pipelines.records import Failure


def counted(counts: Counter[str]) -> tuple[Count, ...]:
    """Order counts by number, the highest first, and then by name."""
    return tuple(Count(*item) for item in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def summarize(census: Census, measured: Sample, run: Run) -> Sampled:
    """Sum up what the sample shows, and what can be expected of all inputs.

    Args:
      census: of the inputs.
      measured: the sample.
      run: as which the rows of the sample are measured.
    """
    failed = len(measured.failures)
    expected = estimate.expected_failures(failed, measured.count, census.images) if measured.count else Interval(0, 0)
    cannot = census.failure_count
    table, accounts = None, Accounts()
    if measured.predictions:
        table, accounts = PredictionTable().lay_out(measured.predictions, run)
    oversized = [count_oversized(accounts.oversized, run.bundle, run.grid.tile)] if accounts.oversized else []
    return Sampled(
        measured.count,
        measured.bytes,
        measured.empty,
        failed,
        Interval(expected.low + cannot, expected.high + cannot),
        _reasons([*measured.failures, *census.failures]),
        counted(Counter(prediction.source for prediction in measured.predictions)),
        counted(Counter(repair for prediction in measured.predictions for repair in prediction.repairs)),
        _bytes_per_row(table) if table else None,
        shift.compare(run.bundle.reference, accounts.seen),
        tuple(oversized),
    )


def _reasons(failures: Iterable[Failure]) -> tuple[Reason, ...]:
    first: dict[str, Failure] = {}
    counts: Counter[str] = Counter()
    for failure in failures:
        error = f"{failure.stage}: {failure.error}"
        first.setdefault(error, failure)
        counts[error] += 1
    return tuple(
        Reason(error, count, first[error].message, first[error].path)
        for error, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _bytes_per_row(table: pa.Table) -> float:
    """Measure the size of rows as the job writes them, less that of a file without rows."""
    sizes = []
    for part in (table, table.slice(0, 0)):
        file = io.BytesIO()
        pq.write_table(part, file, **PARQUET_OPTIONS)
        sizes.append(len(file.getvalue()))
    rows: int = table.num_rows
    return (sizes[0] - sizes[1]) / rows
