"""Names of columns that every engine keeps apart, whatever the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.output.commit import commit
from pipelines.output.footers import probability_columns
from pipelines.output.run import Run, Wave
from pipelines.output.writing import PredictionTable, TableWriter
from pipelines.records import ImageRef, Prediction
from pipelines.results.outputs import open_output
from tests.pipelines.output.rows import written

# Letters of both cases, digits and signs that meet once they are made plain; and anything.
LABELS = st.lists(st.one_of(st.text("aAbB_2 -é", max_size=4), st.text()), unique=True, max_size=12)


@given(LABELS)
@example(["a", "A", "a_2", "A_2", "a 2", "A-2", "a_2_2"])
@example(["a_2", "a", "A"])
@example(["", "_", " ", "ß", "ẞ"])
def test_names_of_probability_columns_are_plain_and_distinct_whatever_the_labels(labels: Sequence[str]) -> None:
    names = probability_columns(labels)

    assert list(names) == list(labels), "the order of the labels"
    for name in names.values():
        assert re.fullmatch("p_[A-Za-z0-9_]*", name)
    assert len({name.lower() for name in names.values()}) == len(labels), names
    assert probability_columns(labels) == names, "the same labels have the same names"


@given(st.lists(st.from_regex("[a-z0-9_]+", fullmatch=True), unique=True))
def test_plain_labels_in_small_letters_keep_their_names(labels: Sequence[str]) -> None:
    assert probability_columns(labels) == {label: f"p_{label}" for label in labels}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["Water", "water"], ["p_Water", "p_water_2"]),
        (["water", "Water", "WATER"], ["p_water", "p_Water_2", "p_WATER_3"]),
        (["a b", "a-b", "a_b"], ["p_a_b", "p_a_b_2", "p_a_b_3"]),
        (["forêt", "1"], ["p_for_t", "p_1"]),
    ],
)
def test_labels_that_would_have_one_name_get_a_number(labels: list[str], names: list[str]) -> None:
    assert list(probability_columns(labels).values()) == names


def test_an_engine_that_ignores_case_reads_each_label_from_its_column(run: Run) -> None:
    labels = ("Water", "water", "a b")
    run = replace(run, bundle=replace(run.bundle, labels=labels, thresholds=(0.5,) * 3), thresholds=(0.5,) * 3)
    writer = TableWriter(PredictionTable(), run)
    for number, probabilities in enumerate([(0.25, 0.5, 0.75), (0.875, 0.125, 0.0)]):
        writer.write(
            Prediction(ImageRef(f"{number}.jpg", 1, "x"), 8, 8, "jpeg 3x8", (), np.array(probabilities, np.float32))
        )
    staged = writer.close()
    assert staged
    commit(run, Wave(inputs=2), written([staged]))

    columns = open_output(run.output).footer().columns
    assert list(columns) == list(labels)
    chosen = ", ".join(columns.values())
    found = duckdb.execute(
        f"select {chosen}, tags from '{Path(run.output)}/predictions/*.parquet' order by path"
    ).fetchall()

    assert found == [(0.25, 0.5, 0.75, ["water", "a b"]), (0.875, 0.125, 0.0, ["Water"])]
