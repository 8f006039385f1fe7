"""After any run, both tables hold a file with the columns, so that no reader fails on a run without failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.output.arrow import make_schema
from pipelines.output.commit import commit
from pipelines.output.compatible import check_output
from pipelines.output.footers import read_footer
from pipelines.output.lock import hold_output
from pipelines.output.recovery import recover_rows
from pipelines.output.replacing import replace_rows
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, OutputRun, Run, Wave
from pipelines.output.schema import failure_columns, prediction_columns
from pipelines.output.tables import NO_ROWS, OutputError
from pipelines.output.written import Superseded, Written
from pipelines.records import KeptColumn
from pipelines.scenes.grid import Grid
from tests.conftest import Bucket
from tests.pipelines.output.dead_runs import die
from tests.pipelines.output.rows import FIRST, Rows, commit_rows, seen, stage, written

PREDICTED: Rows = {"a.jpg": (PREDICTIONS, "1")}
FAILED: Rows = {"a.jpg": (FAILURES, "1")}


def check_both(run: Run) -> None:
    """Check that DuckDB and Arrow read both tables, with all columns and the footer of the run."""
    for table, columns in ((PREDICTIONS, prediction_columns(run)), (FAILURES, failure_columns(run))):
        folder = Path(run.output, table)
        schema = make_schema(columns, run)
        dataset = ds.dataset(folder, partitioning=None)
        assert dataset.schema.equals(schema)
        found = duckdb.sql(f"select * from read_parquet('{folder}/*.parquet')")
        assert found is not None
        assert found.columns == schema.names
        assert len(found.fetchall()) == dataset.count_rows()
        footers = [read_footer(pq.read_schema(file)) for file in folder.glob("*.parquet")]
        assert {footer and (footer.bundle, footer.thresholds) for footer in footers} == {
            (run.bundle.digest, run.thresholds)
        }


@pytest.mark.parametrize("rows", [PREDICTED, FAILED, {}], ids=["no failures", "no predictions", "nothing"])
@pytest.mark.parametrize("grid", [Grid(), Grid(256, 256)], ids=["images", "windows"])
def test_a_table_without_rows_has_its_columns(run: Run, rows: Rows, grid: Grid) -> None:
    here = replace(run, grid=grid)

    commit_rows(here, rows)

    check_both(here)
    assert seen(run.output) == {path: [row] for path, row in rows.items()}


def test_there_is_one_such_file_however_many_waves_and_runs_there_are(run: Run, earlier: Run) -> None:
    for number, one in enumerate((earlier, earlier, run)):
        commit(one, Wave(Accounts(inputs=number), 1), written(stage(one, {f"{number}.jpg": (PREDICTIONS, "1")})))

    assert [file.name for file in Path(run.output, FAILURES).iterdir()] == [NO_ROWS]
    check_both(run)


def test_the_last_row_of_a_table_leaves_the_columns_behind(run: Run, earlier: Run) -> None:
    commit_rows(earlier, FAILED)
    commit_rows(run, PREDICTED)

    check_both(run)
    assert seen(run.output) == {"a.jpg": [(PREDICTIONS, "1")]}


def test_a_row_that_is_deleted_leaves_the_columns_behind(run: Run, earlier: Run) -> None:
    commit_rows(earlier, PREDICTED)
    [file] = Path(run.output, PREDICTIONS).iterdir()

    commit(run, Wave(inputs=0), Written([], [Superseded("a.jpg", f"{PREDICTIONS}/{file.name}", gone=True)], Accounts()))

    check_both(run)
    assert seen(run.output) == {}


def other_bundle(run: Run) -> Run:
    bundle = replace(run.bundle, digest="0" * 64, labels=tuple(f"{label}s" for label in run.bundle.labels))
    return replace(run, bundle=bundle)


def other_grid(run: Run) -> Run:
    return replace(run, grid=Grid(256, 256))


def other_list(run: Run) -> Run:
    return replace(run, kept=(KeptColumn("site", "string"),))


@pytest.mark.parametrize("rows", [PREDICTED, FAILED], ids=["no failures", "no predictions"])
@pytest.mark.parametrize("others", [False, True], ids=["nothing committed", "only columns, of a different model"])
def test_recovered_rows_have_both_tables(run: Run, earlier: Run, rows: Rows, others: bool) -> None:
    here = replace(run, grid=Grid(256, 256), kept=(KeptColumn("site", "string"),))
    if others:
        commit_rows(earlier, {})
    die(here, rows)

    with hold_output(here):
        [found] = recover_rows(OutputRun(f"{run.name[:-1]}f", run.output))

    assert found.accounts.inputs == 1
    check_both(here)
    assert seen(run.output) == {path: [row] for path, row in rows.items()}


@pytest.mark.parametrize("change", [other_bundle, other_grid, other_list])
def test_columns_alone_keep_no_other_model_out(run: Run, earlier: Run, change: Callable[[Run], Run]) -> None:
    commit_rows(earlier, {})
    other = change(run)

    check_output(other)
    commit_rows(other, PREDICTED)

    check_both(other)


def test_rows_under_that_name_are_rows(run: Run, earlier: Run) -> None:
    commit_rows(earlier, PREDICTED)
    [file] = Path(run.output, PREDICTIONS).iterdir()
    file.rename(file.with_name(NO_ROWS))

    with pytest.raises(OutputError, match="rows of a different bundle"):
        check_output(other_bundle(run))


def test_an_overwrite_leaves_the_columns_of_its_own_model(run: Run, earlier: Run) -> None:
    commit_rows(earlier, {**FIRST, "gone.jpg": (FAILURES, "1")})
    for number, rows in enumerate((PREDICTED, FAILED)):
        other = replace(other_bundle(run), name=f"{run.name[:-1]}{number + 8}", overwrite=True)
        accounts = commit_rows(other, rows)
        replace_rows(other, accounts)

        check_both(other)
        assert seen(run.output) == {path: [row] for path, row in rows.items()}


def test_a_bucket_has_them_too(run: Run, bucket: Bucket) -> None:
    here = replace(run, output=f"{bucket.path}/out")

    commit_rows(here, PREDICTED)
    commit_rows(replace(here, name=f"{run.name[:-1]}f"), {"b.jpg": (FAILURES, "1")})

    assert seen(here.output) == {"a.jpg": [(PREDICTIONS, "1")], "b.jpg": [(FAILURES, "1")]}
    check_output(here)
