"""Embeddings in the rows: one per image, the same wherever and whenever it was computed."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest

from tests import outputs
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict


@on_both_runners
def test_each_row_has_the_features_under_the_head(run: Predict, chips: Path, tmp_path: Path, bundle_path: str) -> None:
    out = tmp_path / "out"
    assert run(embeddings=True) == 0
    field = ds.dataset(out / "predictions").schema.field("embedding")
    size = field.type.list_size
    assert str(field.type) == f"fixed_size_list<element: halffloat>[{size}]"
    of_rows = np.stack([row["embedding"] for row in outputs.rows(out)])
    assert of_rows.shape == (10, size)
    assert len(np.unique(of_rows, axis=0)) == 10

    [(kind, length)] = duckdb.execute(
        f"select distinct typeof(embedding), len(embedding) from '{out}/predictions/*.parquet'"
    ).fetchall()
    assert (kind, length) == ("FLOAT[]", size)
    assert len(pd.read_parquet(out / "predictions").embedding[0]) == size


def test_an_output_has_them_in_all_rows_or_in_none(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    assert run(embeddings=True) == 2
    error = capsys.readouterr().err
    assert "rows without --embeddings, and those of this run are with; omit --embeddings, choose" in error
    assert run(embeddings=True, overwrite=True) == 0
    assert run(embeddings=True) == 0
    assert outputs.manifest(tmp_path / "out")["skipped"] == 10
