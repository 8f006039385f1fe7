"""Rows become staged files."""

from __future__ import annotations

import os

import pyarrow.parquet as pq
import pytest

from pipelines.inference.bundle import load_bundle
from pipelines.output.run import Run
from pipelines.output.writing import FailureTable, TableWriter
from pipelines.records import Failure


@pytest.fixture
def run(tmp_path: os.PathLike[str], bundle_path: str) -> Run:
    bundle = load_bundle(bundle_path)
    return Run("20260101T000000Z-0001", os.path.join(tmp_path, "out"), bundle, bundle.thresholds)


def test_no_rows_make_no_file(run: Run) -> None:
    assert TableWriter(FailureTable(), run).close() is None
    assert not os.path.exists(run.output)


def test_rows_are_written_in_groups_and_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.output.writing.ROWS_PER_GROUP", 3)
    writer = TableWriter(FailureTable(), run)
    for number in range(7):
        writer.write(Failure(f"{number}.jpg", "read", "OSError", "no reason", "print"))
    staged = writer.close()

    assert staged is not None
    assert pq.ParquetFile(staged.staged).num_row_groups == 3
    assert staged.accounts.failures == 7
    assert staged.accounts.errors == {"read: OSError": 7}
