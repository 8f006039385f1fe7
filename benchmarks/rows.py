"""Read the rows of a contender, and compare them with those of `scenetags predict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.output.footers import probability_columns

TOLERANCE = 1e-3

Probabilities = Mapping[str, NDArray[np.float32]]
"""By path, float32[L]."""


class WrongRowsError(ValueError):
    """Rows that are missing, duplicated or wrong."""


def read_rows(folder: Path, labels: Sequence[str], paths: Sequence[str]) -> Probabilities:
    """Read the rows below a folder, and check that there is exactly one per path.

    Args:
      folder: contains Parquet files with the columns `path` and `p_<label>`, at any depth.
      labels: in the order of the returned probabilities.
      paths: of the images, each once.

    Raises:
      WrongRowsError: an image has no row or more than one, or a column is missing.
    """
    # Some contenders write files without rows, whose columns have no types.
    files = [file for file in sorted(folder.rglob("*.parquet")) if pq.read_metadata(file).num_rows]
    columns = ["path", *probability_columns(labels).values()]
    tables = [pq.ParquetFile(file).read(columns) for file in files]
    for table in tables:
        if absent := set(columns) - set(table.schema.names):
            raise WrongRowsError(f"no column {', '.join(sorted(absent))}")
    if not tables:
        raise WrongRowsError("no rows at all")
    table = pa.concat_tables(tables, promote_options="permissive")
    written, expected = Counter(table["path"].to_pylist()), set(paths)
    for what, wrong in (
        ("without a row", expected - written.keys()),
        ("with unexpected rows", written.keys() - expected),
        ("with more than one row", {path for path, count in written.items() if count > 1}),
    ):
        if wrong:
            raise WrongRowsError(f"{len(wrong)} images {what}, e.g. {min(wrong)}")
    probabilities = np.stack([table[name].to_numpy() for name in columns[1:]], axis=1).astype(np.float32)
    return dict(zip(table["path"].to_pylist(), probabilities, strict=True))


def check_agreement(rows: Probabilities, reference: Probabilities) -> None:
    """Check probabilities against a reference that contains all their paths.

    Raises:
      WrongRowsError: one differs by more than `TOLERANCE`.
    """
    for path, probabilities in rows.items():
        difference = float(np.abs(probabilities - reference[path]).max())
        if not difference <= TOLERANCE:  # also rejects NaN
            raise WrongRowsError(f"probabilities of {path} differ by {difference:.2g} from those of scenetags")
