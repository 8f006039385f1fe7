"""Check whether a run may add its rows to those in the output."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa

from pipelines.output.run import FAILURES, PREDICTIONS, Run
from pipelines.output.schema import FAILURE_COLUMNS, PREDICTION_COLUMNS, make_schema, read_footer
from pipelines.output.tables import OutputError, open_table, read_each, table_files


def check_output(run: Run) -> None:
    """Verify that a run may write to its output.

    Raises:
      OutputError: a file in it is damaged or was not written by scenetags; or, without `overwrite`, its rows were made
        with a different model, different thresholds or different columns.
    """
    expected = {table: _columns(schema) for table, schema in _schemas(run).items()}
    list(read_each(run.output, partial(_check_table, run, expected), table_files(run.output)))


def _check_table(run: Run, expected: Mapping[str, Sequence[tuple[str, str]]], path: str) -> None:
    """Verify that the run's rows may join those of one file; `expected` holds the columns of each table."""
    with open_table(path) as parquet:
        schema = parquet.schema_arrow
    holds = f"output {run.output} holds"
    footer = read_footer(schema)
    if footer is None:
        raise OutputError(f"{holds} {path}, which scenetags did not write", "choose another --output")
    if run.overwrite:
        return
    remedy = "choose another --output, or replace the rows with --overwrite"
    if footer.bundle != run.bundle.digest:
        theirs, ours = footer.bundle[:12], run.bundle.digest[:12]
        raise OutputError(f"{holds} rows of a different bundle ({theirs}, not {ours})", remedy)
    if footer.thresholds != run.thresholds:
        raise OutputError(f"{holds} rows tagged with different thresholds", remedy)
    if _columns(schema) != expected[posixpath.basename(posixpath.dirname(path))]:
        raise OutputError(f"{holds} {path}, whose columns differ from those of this version", remedy)


def _schemas(run: Run) -> dict[str, pa.Schema]:
    return {
        PREDICTIONS: make_schema(PREDICTION_COLUMNS, run),
        FAILURES: make_schema(FAILURE_COLUMNS, run),
    }


def _columns(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in schema]
