"""What a run did, in the few lines with which it ends."""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.errors import ScenetagsError, quantity
from pipelines.inference.scale import count_oversized
from pipelines.output.run import FAILURES, Accounts, Run
from pipelines.results.outputs import open_output
from pipelines.supervision.progress import duration

_SHOWN = 5
"""Tags, repairs and reasons; the manifest has all."""


def summarize(run: Run, accounts: Accounts, where: str) -> list[str]:
    """Describe in lines of text what a run did; its results are in the folder `where`."""
    seconds = time.time() - run.started
    worked_on = accounts.predictions + accounts.failures + accounts.empty
    lines = [
        f"{quantity(accounts.inputs, 'image')}: {accounts.predictions:,} tagged, "
        f"{accounts.failures:,} failed, "
        + f"{accounts.empty:,} empty, " * bool(accounts.empty)
        + f"{accounts.skipped:,} skipped as already tagged",
        f"{duration(seconds)}" + (f", {worked_on / seconds:.1f} images per second" if worked_on else ""),
    ]
    passed_over = sum(accounts.passed_over.values())
    for title, counts in (
        ("most frequent tags", accounts.tags),
        ("repairs", accounts.repairs),
        ("reasons for failures", accounts.errors),
        (f"{passed_over:,} passed over", accounts.passed_over),
    ):
        if counts:
            commonest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{name} {count:,}" for name, count in commonest[:_SHOWN])
            lines.append(f"{title}: {shown}" + f", and {len(counts) - _SHOWN} more" * (len(counts) > _SHOWN))
    if accounts.oversized:
        lines.append(f"caution: {count_oversized(accounts.oversized, run.bundle, run.grid.tile)}")
    if not accounts.balanced:
        found = accounts.predictions + accounts.failures + accounts.skipped + accounts.empty
        lines.append(
            f"ROW COUNT MISMATCH: {quantity(accounts.inputs, 'input')}, but "
            f"{quantity(found, 'row or skip', 'rows and skips')}; "
            "please report this"
        )
    tagged = accounts.predictions + accounts.skipped
    for table, count in (("predictions", tagged), ("failures", accounts.failures)):
        if count:
            lines.append(f"{table}: {where}/{table}/*.parquet")
    lines.append(f"manifest: {run.manifest}")
    return lines


def example(run: Run, output: str) -> list[str]:
    """Describe one failure of a run in a line, so that nobody has to open a table to see what is wrong."""
    fields = pa.schema([(name, pa.string()) for name in ("path", "stage", "message", "run")])
    try:
        with storage.hurried():
            for rows in open_output(output).pieces(fields, table=FAILURES):
                # Earlier runs have failures there, too, of images that were not listed again.
                if (place := pc.index(rows["run"], run.name).as_py()) >= 0:
                    [failure] = rows.slice(place, 1).to_pylist()
                    return ["  e.g. {path}: {stage}: {message}".format(**failure)]
    except (OSError, ScenetagsError):
        pass  # It is only a hint: the counts are printed, and the rows are committed.
    return []
