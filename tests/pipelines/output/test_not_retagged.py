"""What cannot be retagged is refused, and no file changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.errors import ScenetagsError
from pipelines.output.lock import hold_output
from pipelines.output.retagging import retag
from tests.pipelines.output.retagged import edited, prediction_files, retagging, with_tags, write


@pytest.fixture
def output(tmp_path: Path) -> str:
    write(str(tmp_path / "out"), 3, 2)
    return str(tmp_path / "out")


def with_probability(value: float | None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("p_Clear_2")
        return table.set_column(place, table.schema.field(place), pa.array([0.5, value], pa.float32()))

    return change


def in_a_folder(output: str) -> None:
    os.renames(prediction_files(output)[1], f"{output}/predictions/day=1/x.parquet")


def cut_short(output: str) -> None:
    path = Path(prediction_files(output)[1])
    path.write_bytes(path.read_bytes()[:-100])


REFUSED: dict[str, tuple[Callable[[str], None], str]] = {
    "another program's file": (edited(lambda table: pa.table({"x": [1]})), "which scenetags did not write; move it"),
    "half a file": (cut_short, "is damaged or not a Parquet file"),
    "a sub-folder": (in_a_folder, "is in a sub-folder, where scenetags does not look for rows"),
    "two models": (lambda output: write(output, 1, digest="c" * 64), "predictions of several models, one of them in"),
    "not a number": (edited(with_probability(float("nan"))), "holds a value that is not a probability"),
    "null": (edited(with_probability(None)), "holds a value that is not a probability"),
    "more than 1": (edited(with_probability(1.5)), "holds a value that is not a probability"),
    "tags in one text": (edited(with_tags(["a", "b"], pa.string())), "holds no column of tags"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_cannot_be_retagged_is_refused_and_no_tag_changes(wrong: str, output: str) -> None:
    make, message = REFUSED[wrong]
    make(output)
    before = {path: path.read_bytes() for path in Path(output).rglob("*") if path.is_file()}

    with pytest.raises(ScenetagsError, match=message):
        retag(retagging(output))

    assert {path: path.read_bytes() for path in Path(output).rglob("*") if path.is_file()} == before


def test_an_output_in_use_is_not_retagged(output: str) -> None:
    with hold_output(retagging(output)), pytest.raises(ScenetagsError, match=r"is in use by run .*; wait for that run"):
        retag(retagging(output, 0.75))
