"""A path that several rows have is found, and no other is taken for one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.output import single_rows
from pipelines.output.single_rows import Paths


def find(*pieces: list[str]) -> str | None:
    paths, arrays = Paths(), [pa.array(piece, pa.string()) for piece in pieces]
    for array in arrays:
        paths.add(array)
    return paths.find_double(arrays)


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=6), max_size=4))
def test_a_double_is_found_wherever_its_rows_are(pieces: list[list[str]]) -> None:
    flat = [path for piece in pieces for path in piece]
    found = find(*pieces)
    assert (found is None) == (len(set(flat)) == len(flat))
    assert found is None or flat.count(found) > 1


def test_paths_of_the_same_hash_are_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_rows, "_hash", lambda paths: np.zeros(len(paths), np.int64))
    assert find(["a", "b"], ["c"]) is None
    assert find(["a", "b"], ["c", "a"]) == "a"
