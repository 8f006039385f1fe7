"""A history of epochs comes back from its file as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.quality.history import Epoch, HistoryError, read_csv, write_csv

NUMBERS = st.floats(width=64)
EPOCHS = st.builds(Epoch, st.text("head,fine-tuning \"'é"), st.integers(1), *[NUMBERS] * 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("histories")


@given(history=st.lists(EPOCHS))
def test_every_digit_comes_back(folder: Path, history: list[Epoch]) -> None:
    write_csv(history, folder / "history.csv")
    # By their texts, as NaN does not equal itself.
    assert repr(read_csv(folder / "history.csv")) == repr(tuple(history))
    assert [file.name for file in folder.iterdir()] == ["history.csv"]


def test_numbers_of_numpy_come_back_too(tmp_path: Path) -> None:
    third = np.float32(1 / 3)
    written = Epoch("head", 1, np.float64(1 / 3), *[third] * 5)  # type: ignore[arg-type]
    write_csv([written], tmp_path / "history.csv")
    assert read_csv(tmp_path / "history.csv") == (written,)


def test_a_later_history_replaces_the_earlier_one(tmp_path: Path) -> None:
    epochs = [Epoch("head", number, *[0.5] * 6) for number in (1, 2)]
    write_csv(epochs[:1], tmp_path / "history.csv")
    write_csv(epochs, tmp_path / "history.csv")
    assert read_csv(tmp_path / "history.csv") == tuple(epochs)


@pytest.mark.parametrize(
    "content",
    [
        b"epoch,loss\n1,0.5\n",
        b"phase,epoch,learning_rate,loss,validation_loss,validation_f2,validation_map,seconds\nhead,1,0.5\n",
        b"phase,epoch,learning_rate,loss,validation_loss,validation_f2,validation_map,seconds\nhead,1,a,0,0,0,0,0\n",
        b"\xff\xd8\xff\xe0\n\n\n",
    ],
)
def test_another_file_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(HistoryError, match=r"history\.csv: not a history .* remove it") as refused:
        read_csv(tmp_path / "history.csv")
    assert "\n" not in str(refused.value)


def test_the_column_of_the_score_says_which_it_is(tmp_path: Path) -> None:
    written = Epoch("head", 1, *[0.5] * 6)
    write_csv([written], tmp_path / "history.csv", 0.5)
    assert b",validation_f0_5," in (tmp_path / "history.csv").read_bytes()
    assert read_csv(tmp_path / "history.csv", 0.5) == (written,)
    with pytest.raises(HistoryError):
        read_csv(tmp_path / "history.csv", 2.0)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"history\.csv: No such file"):
        read_csv(tmp_path / "history.csv")
