"""A column says which images to hold out, in the spellings that people use."""

from __future__ import annotations

import pytest

from model.data.sides import SplitColumn, SplitError, read_sides

MISLEADING = (
    *("trainval", "train_val", "invalid", "is_not_valid", "evaluated", "device", "household"),
    *("not_train", "not_for_training", "untrained", "constraint"),
)
SHORT = {"train": "t", "held out": "h", "left out": "-"}


@pytest.mark.parametrize(
    ("column", "cells", "sides"),
    [
        ("split", "train valid train", "tht"),
        ("split", "Train Validation TEST", "th-"),
        ("split", "training test train", "tht"),
        ("subset", "trn dev tst", "th-"),
        ("is_valid", "False True False", "tht"),
        ("is_valid", "0 1 0.0", "tht"),
        ("is_train", "1 0 1", "tht"),
        ("isValidation", "1 0 1", "hth"),
        ("held-out", "yes no no", "htt"),
        ("HoldOut", "1 0 0", "htt"),
        ("fold=0", "0 1 2 0", "htth"),
        ("fold=2", "0.0 1.0 2.0", "tth"),
        ("split=b", "a B c", "tht"),
        ("split=val", "train val test unlabelled", "th-t"),
        ("split=test", "train val test", "tth"),
    ],
)
def test_values_are_known_or_named(column: str, cells: str, sides: str) -> None:
    read = read_sides(SplitColumn.parse(column), cells.split())
    assert "".join(SHORT[side] for side in read) == sides


def test_an_image_without_a_value_is_left_out() -> None:
    assert read_sides(SplitColumn("split"), ["train", " ", "val"]) == ["train", "left out", "held out"]
    for missing in ("NA", "nan", "None", "NULL"):
        cells = ["0", missing, "1"]
        assert read_sides(SplitColumn("fold", "0"), cells) == ["held out", "left out", "train"]
        assert read_sides(SplitColumn("is_valid"), cells) == ["train", "left out", "held out"]


@pytest.mark.parametrize(
    ("column", "cells", "told"),
    [
        (
            "fold",
            "0 1 2",
            "column fold has the values 0, 1, 2; say which value to hold out, such as --split_column fold",
        ),
        ("fold", "0 1", "column fold has the values 0, 1; say"),
        *((name, "0 1", f"column {name} has the values 0, 1; say") for name in MISLEADING),
        ("split", "train train", "column split leaves no image to hold out: its values are train"),
        ("split=x", "train val", "column split leaves no image to hold out: its values are train, val"),
        ("split", "val val", "column split leaves no image to train on: its values are val"),
        (
            "split",
            "train dev2",
            "column split has the values dev2, train; say which value to hold out, such as --split_column split=dev2",
        ),
        (
            "split=val",
            "val test",
            "column split leaves no image to train on: its values are test, val; say which value "
            "to hold out, such as --split_column split=test",
        ),
        ("split", "test tst", "column split leaves no image to train on: its values are test, tst; the column must"),
        ("is_valid", "0 0", "column is_valid leaves no image to hold out: its values are 0; the column must tell"),
        ("", "train", "no image to hold out: no row of --validation_labels names an image in --images; check the"),
        ("", "validation", "no image to train on: no row of --labels names an image in --images; check the"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_values(column: str, cells: str, told: str) -> None:
    with pytest.raises(SplitError) as error:
        read_sides(SplitColumn.parse(column), cells.split())
    assert str(error.value).startswith(told)
