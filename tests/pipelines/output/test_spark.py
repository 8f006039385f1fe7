"""Spark loads an output as `scenetags ddl spark` says, with the rows and types that every other reader finds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import ddl
from pipelines.output.run import Run
from pipelines.output.schema import EMBEDDING
from pipelines.records import Failure
from pipelines.results.outputs import open_output
from tests.pipelines.results.tagged_outputs import image, run_of, window, with_grid, write

LABELS = ("clear", "bare ground", 'it\'s \\ "old"', "Clear")


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Spark, which takes longer than all other tests of a module may."""
    libraries = os.environ.get("SCENETAGS_SPARK")
    if not libraries:
        pytest.skip("Spark is not here: make test-spark")
    work = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": f"{work}/warehouse",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={work}",
    }
    sys.path.append(os.path.abspath(libraries))
    try:
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local[1]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        yield session
        session.stop()
    finally:
        sys.path.remove(os.path.abspath(libraries))


@pytest.fixture
def output(run: Run, tmp_path: Path) -> str:
    """Write an output of windows, images and a failure, below a folder that is named like a column."""
    here = with_grid(run_of(run, tmp_path / "path=7" / "out", LABELS))
    here = replace(here, embedding_size=3)
    random = np.random.default_rng(1).random((40, len(LABELS)), np.float32).tolist()
    rows = [window("/archive/a.tif", 256 * number, values) for number, values in enumerate(random[:20])]
    rows += [image(f"/archive/{number}.jpg", values) for number, values in enumerate(random[20:])]
    rows = [row._replace(embedding=np.array([number, 0.5, -1], np.float16)) for number, row in enumerate(rows)]
    write(here, rows, [Failure("/archive/c.jpg", "read", "OSError", "gone", "1-1")])
    return here.output


@pytest.fixture
def loaded(spark: Any, output: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Run the statements in Spark."""
    assert ddl.main(["spark", output]) == 0
    for statement in capsys.readouterr().out.split(";\n"):
        if statement.strip():
            spark.sql(statement)
    yield spark
    for table in ("predictions", "failures"):
        spark.sql(f"DROP TABLE {table}")


def texts(rows: Iterable[Any]) -> list[str]:
    """Write rows as texts that can be compared, in their order."""
    return sorted(repr(row if isinstance(row, dict) else row.asDict(recursive=True)) for row in rows)


def test_spark_loads_all_columns_and_rows(loaded: Any, output: str) -> None:
    ours = open_output(output).predictions()
    # Spark reads no numbers of half precision.
    expected = [name for name in ours.column_names if name != EMBEDDING.name]
    assert loaded.table("predictions").columns == expected
    same = [name for name in expected if name not in ("geometry", "datetime")]
    assert texts(loaded.table("predictions").select(*same).collect()) == texts(ours.select(same).to_pylist())
    taken = loaded.sql("select count(datetime), count(geometry), min(datetime) from predictions").first()
    assert tuple(taken)[:2] == (20, 20)
    assert texts(loaded.table("failures").collect()) == texts(open_output(output).failures().to_pylist())


def test_spark_pushes_a_filter_on_a_probability_down_to_the_row_groups(loaded: Any, output: str) -> None:
    # Compared with a plain 0.9, the column would be converted to double, and no filter on it is pushed down.
    likely = loaded.table("predictions").where("p_clear >= CAST(0.5 AS FLOAT)")

    assert "GreaterThanOrEqual(p_clear" in likely._jdf.queryExecution().toString()
    ours = open_output(output).predictions()["p_clear"].to_pylist()
    assert likely.count() == sum(value >= 0.5 for value in ours) > 0


def test_spark_finds_the_images_of_a_tag(loaded: Any, output: str) -> None:
    found = loaded.sql("select path from predictions where array_contains(tags, 'bare ground')")

    rows = open_output(output).predictions().to_pylist()
    assert sorted(path for (path,) in found.collect()) == sorted(
        row["path"] for row in rows if "bare ground" in row["tags"]
    )
