"""Tools load both tables as they are: types, lists and nulls, and only the row groups that a filter needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.output.run import Run
from pipelines.output.tables import ROWS_PER_GROUP
from pipelines.records import Failure
from tests.pipelines.results.tagged_outputs import image, run_of, window, with_grid, write

LABELS = ("clear", "road")
ROWS = {
    "/archive/a.tif#xywh=256,0,256,256": (["clear"], 0.75, "/archive/a.tif", 0.256),
    "/archive/b.jpg": ([], 0.25, None, None),
    "/archive/c.jpg": (["clear", "road"], 0.5, None, None),
}


@pytest.fixture
def output(run: Run, tmp_path: Path) -> Path:
    """Write an output of a window, two images and no failure, below folders that are named like columns."""
    here = with_grid(run_of(run, tmp_path / "path=7" / "date=2026-01-01" / "out", LABELS))
    write(
        here,
        [
            window("/archive/a.tif", 256, [0.75, 0.0]),
            image("/archive/b.jpg", [0.25, 0.0]),
            image("/archive/c.jpg", [0.5, 0.875]),
        ],
    )
    return Path(here.output)


def by_path(rows: Sequence[Mapping[Any, Any]]) -> dict[str, tuple[Any, ...]]:
    def tidy(value: Any) -> Any:
        return None if value is None or value != value else value

    return {
        row["path"]: (list(row["tags"]), row["p_clear"], tidy(row["scene"]), (tidy(row["bbox"]) or {}).get("xmin"))
        for row in sorted(rows, key=lambda row: str(row["path"]))
    }


def test_pandas_loads_it(output: Path) -> None:
    # Without `partitioning`, pandas takes the folders above for columns, as pyarrow does.
    table = pd.read_parquet(output / "predictions", partitioning=None)

    assert by_path(table.to_dict("records")) == ROWS
    assert str(table.dtypes["p_clear"]) == "float32"
    assert str(table.dtypes["datetime"]) == "datetime64[us, UTC]"
    failures = pd.read_parquet(output / "failures", partitioning=None)
    assert failures.empty
    assert list(failures.columns)[:4] == ["path", "stage", "error", "message"]


def test_polars_loads_it(output: Path) -> None:
    table = pl.read_parquet(output / "predictions" / "*.parquet", hive_partitioning=False)

    assert by_path(table.to_dicts()) == ROWS
    assert table.schema["tags"] == pl.List(pl.String)
    assert table.schema["p_clear"] == pl.Float32
    assert table.schema["datetime"] == pl.Datetime("us", "UTC")
    assert pl.read_parquet(output / "failures" / "*.parquet", hive_partitioning=False).is_empty()
    tagged = table.filter(pl.col("tags").list.contains("road"))["path"].to_list()
    assert tagged == ["/archive/c.jpg"]


def test_duckdb_loads_it(output: Path) -> None:
    files = f"read_parquet('{output}/predictions/*.parquet', hive_partitioning = false)"
    found = duckdb.sql(f"select path, tags, p_clear, scene, bbox from {files}")
    assert found is not None

    assert by_path([dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]) == ROWS
    none = duckdb.sql(f"select count(*) from read_parquet('{output}/failures/*.parquet')")
    assert none
    assert none.fetchall() == [(0,)]


def test_pyarrow_datasets_load_it(output: Path) -> None:
    dataset = ds.dataset(output / "predictions", partitioning=None)

    assert by_path(dataset.to_table().to_pylist()) == ROWS
    assert dataset.schema.field("tags").type == pa.list_(pa.field("element", pa.string()))
    assert dataset.count_rows(filter=ds.field("p_road") > 0.5) == 1
    assert ds.dataset(output / "failures", partitioning=None).count_rows() == 0


def test_statistics_let_a_reader_skip_row_groups(run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", LABELS)
    rows = 2 * ROWS_PER_GROUP + 10
    write(here, (image(f"/{n}.jpg", [n / rows, 0.5], "1-1") for n in range(rows)))
    [file] = Path(here.output, "predictions").glob("*.parquet")

    metadata = pq.read_metadata(file)
    column = metadata.schema.names.index("p_clear")
    ends = [metadata.row_group(n).column(column).statistics for n in range(metadata.num_row_groups)]
    assert [(end.min, end.max) for end in ends][2][0] == pytest.approx(2 * ROWS_PER_GROUP / rows)
    [fragment] = ds.dataset(file).get_fragments(filter=ds.field("p_clear") > 0.9999)
    assert [group.id for group in fragment.subset(ds.field("p_clear") > 0.9999).row_groups] == [2]


def test_failures_alone_load_likewise(run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", LABELS)
    write(here, [], [Failure("/a.jpg", "read", "OSError", "gone", "")])

    folder = Path(here.output)
    assert pl.read_parquet(folder / "predictions" / "*.parquet").columns[:4] == ["path", "tags", "p_clear", "p_road"]
    assert pd.read_parquet(folder / "predictions").empty
    assert pd.read_parquet(folder / "failures")["message"].tolist() == ["gone"]


def test_folders_above_are_no_columns_where_a_pattern_or_a_file_is_read(output: Path) -> None:
    assert pl.read_parquet(output / "predictions" / "*.parquet").columns[0] == "path"
    assert ds.dataset(output / "predictions").schema.names[0] == "path"
