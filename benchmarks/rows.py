"""Read what a contender wrote, and compare it with what `scenetags predict` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

TOLERANCE = 1e-3

Probabilities = Mapping[str, NDArray[np.float32]]
"""Of each path, float32[L]."""


class WrongRowsError(ValueError):
    """Rows that are missing, doubled or wrong; the message says which."""


def read_rows(folder: Path, labels: Sequence[str], paths: Sequence[str]) -> Probabilities:
    """Read the rows below a folder, and make sure that there is exactly one for each path.

    Args:
      folder: holds Parquet files with the columns `path` and `p_<label>`, anywhere below.
      labels: in the order in which their probabilities are wanted.
      paths: of the images, each once.

    Raises:
      WrongRowsError: an image has no row or more than one, or a column is missing.
    """
    # Some write files without rows, whose columns have no types either.
    files = [file for file in sorted(folder.rglob("*.parquet")) if pq.read_metadata(file).num_rows]
    columns = ["path", *(f"p_{label}" for label in labels)]
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
        ("with rows that nobody asked for", written.keys() - expected),
        ("with more than one row", {path for path, count in written.items() if count > 1}),
    ):
        if wrong:
            raise WrongRowsError(f"{len(wrong)} images {what}, {min(wrong)} among them")
    probabilities = np.stack([table[name].to_numpy() for name in columns[1:]], axis=1).astype(np.float32)
    return dict(zip(table["path"].to_pylist(), probabilities, strict=True))


def check_agreement(rows: Probabilities, reference: Probabilities) -> None:
    """Make sure that probabilities are those of a reference that has all their paths.

    Raises:
      WrongRowsError: one differs by more than `TOLERANCE`.
    """
    for path, probabilities in rows.items():
        difference = float(np.abs(probabilities - reference[path]).max())
        if not difference <= TOLERANCE:  # NaN is refused too
            raise WrongRowsError(f"probabilities of {path} differ by {difference:.2g} from those of scenetags")
