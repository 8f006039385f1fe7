"""The column of tags as a table with a place for each label, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def mark_tags(tags: pa.ListArray, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Return which labels are tags of which images: bool[N, L]. Tags that are none of the labels are left out."""
    lengths = pc.fill_null(pc.list_value_length(tags), 0).to_numpy(zero_copy_only=False)
    places = pc.fill_null(pc.index_in(pc.list_flatten(tags), pa.array(labels, pa.string())), len(labels))
    marks = np.zeros((len(tags), len(labels) + 1), np.bool_)
    marks[np.repeat(np.arange(len(tags)), lengths), places.to_numpy(zero_copy_only=False)] = True
    return marks[:, :-1]


def list_tags(marks: NDArray[np.bool_], labels: Sequence[str], kind: pa.ListType) -> pa.ListArray:
    """Return the column of tags, in the order of the labels.

    Args:
      marks: bool[N, L].
      labels: L names.
      kind: type of the column; Parquet files of earlier versions differ in the name of its items.
    """
    ends = np.cumsum(marks.sum(axis=1), dtype=np.int32)
    values = pa.array(labels, pa.string()).take(pa.array(np.nonzero(marks)[1]))
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[np.int32(0)], ends])), values, type=kind)
