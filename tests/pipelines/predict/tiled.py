"""How tests have scenes shown and cut, and which rows they expect of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from pipelines.output.run import PREDICTIONS

SHOWN = {"bands": "3,2,1", "stretch": "0:2500"}
TILED = {**SHOWN, "tile": 64}


def paths(output: Path, table: str = PREDICTIONS) -> list[str]:
    """Name the rows of a table by the ends of their paths; every file must open."""
    files = sorted((output / table).glob("*.parquet"))
    rows = [path for file in files for path in pq.read_table(file)["path"].to_pylist()]
    return sorted(path.rpartition("/")[2] for path in rows)


def windows(name: str, width: int, height: int) -> list[str]:
    return sorted(f"{name}#xywh={column},{row},64,64" for column in range(0, width, 64) for row in range(0, height, 64))
