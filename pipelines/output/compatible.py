"""Whether a run may add its rows to those that an output holds."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa

from pipelines.output.run import FAILURES, PREDICTIONS, Run
from pipelines.output.schema import FAILURE_COLUMNS, PREDICTION_COLUMNS, make_schema, read_footer
from pipelines.output.tables import OutputError, open_table, read_each, table_files


def check_output(run: Run) -> None:
    """Make sure that a run may write into its output.

    Raises:
      OutputError: the folder holds what another program, another model or other thresholds wrote, and is not to be
        overwritten; or a file in it is damaged.
    """
    expected = {table: _columns(schema) for table, schema in _schemas(run).items()}
    list(read_each(run.output, partial(_check_table, run, expected), table_files(run.output)))


def _check_table(run: Run, expected: Mapping[str, Sequence[tuple[str, str]]], path: str) -> None:
    """Make sure that rows may stand beside those of one file; the columns of each table are what is expected."""
    with open_table(path) as parquet:
        schema = parquet.schema_arrow
    holds = f"output {run.output} holds"
    footer = read_footer(schema)
    if footer is None:
        raise OutputError(f"{holds} {path}, which scenetags did not write: choose another --output")
    if run.overwrite:
        return
    remedy = "choose another --output, or replace them with --overwrite"
    if footer.bundle != run.bundle.digest:
        theirs, ours = footer.bundle[:12], run.bundle.digest[:12]
        raise OutputError(f"{holds} rows of another bundle ({theirs}, this one is {ours}): {remedy}")
    if footer.thresholds != run.thresholds:
        raise OutputError(f"{holds} rows that were tagged with other thresholds: {remedy}")
    if _columns(schema) != expected[posixpath.basename(posixpath.dirname(path))]:
        raise OutputError(f"{holds} {path}, whose columns are not those of this version: {remedy}")


def _schemas(run: Run) -> dict[str, pa.Schema]:
    return {
        PREDICTIONS: make_schema(PREDICTION_COLUMNS, run),
        FAILURES: make_schema(FAILURE_COLUMNS, run),
    }


def _columns(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in schema]
