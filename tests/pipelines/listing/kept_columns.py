"""Lists with columns, written and read back as their images keep them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.listing import find_kept, list_images


def write(path: Path, columns: dict[str, Sequence[Any]]) -> str:
    rows = list(zip(*columns.values(), strict=True))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([list(columns), *rows])
    return str(path)


def kept(path: str, written: str = "all") -> list[tuple[str | None, ...]]:
    columns = find_kept(path, "path", written)
    return [item.kept for item in list_images([], path, kept=columns)]
