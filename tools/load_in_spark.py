"""Load an output in Spark as `scenetags ddl spark` says, and compare it: `python -m tools.load_in_spark OUTPUT`.

Not one of the tests, since Spark takes longer to start than all of them may. It needs Java 17 and
`pip install pyspark`.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from pipelines import ddl
from pipelines.results.outputs import Output, open_output


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare both tables and a filter; return 1 if Spark finds anything else."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.load_in_spark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", metavar="OUTPUT", help="of `scenetags predict`, on this machine")
    output = open_output(parser.parse_args(arguments).output)
    with tempfile.TemporaryDirectory(prefix="load_in_spark-") as work:
        spark = _start(work)
        try:
            for statement in _statements(output.path):
                spark.sql(statement)
            found = _compare(spark, output)
        finally:
            spark.stop()
    for what, same in found.items():
        print(f"{'same' if same else 'DIFFERS'}: {what}")
    return 0 if all(found.values()) else 1


def _start(work: str) -> Any:
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": f"{work}/warehouse",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={work}",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _statements(output: str) -> list[str]:
    with redirect_stdout(io.StringIO()) as printed:
        assert ddl.main(["spark", output]) == 0
    return [statement for statement in printed.getvalue().split(";\n") if statement.strip()]


def _compare(spark: Any, output: Output) -> dict[str, bool]:
    column = next(iter(output.footer().columns.values()))
    theirs, ours = spark.table("predictions"), output.predictions()
    # Compared with a plain 0.9, the column would be converted to double, and no filter on it is pushed down.
    likely = theirs.where(f"{column} >= CAST(0.9 AS FLOAT)")
    plan = likely._jdf.queryExecution().toString()
    columns = [name for name in ours.column_names if name not in ("geometry", "datetime")]
    return {
        "columns of predictions": theirs.columns == ours.column_names,
        "rows of predictions": _rows(theirs.select(*columns).collect()) == _rows(ours.select(columns).to_pylist()),
        "rows of failures": _rows(spark.table("failures").collect()) == _rows(output.failures().to_pylist()),
        "rows that a filter on a probability leaves": likely.count()
        == sum(np.float32(value) >= np.float32(0.9) for value in ours[column].to_pylist()),
        "the filter is pushed down to the row groups": f"GreaterThanOrEqual({column}" in plan,
    }


def _rows(rows: Iterable[Any]) -> list[str]:
    """Write rows as texts that can be compared, in their order."""
    return sorted(repr(row if isinstance(row, dict) else row.asDict(recursive=True)) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
