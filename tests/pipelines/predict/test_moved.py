"""Images whose folder has another name than in the rows: the run says so before it tags all of them again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipelines.output import moved
from tests.pipelines.predict.predicting import Predict, chip

WARNING = "no image has a row under its path, but "


def test_a_folder_that_has_moved_is_told(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    assert WARNING not in capsys.readouterr().err
    chips.rename(tmp_path / "moved")

    assert run(input=tmp_path / "moved") == 0

    said = capsys.readouterr().err
    assert f"{WARNING}{tmp_path}/moved/0.jpg has the name and the fingerprint of {chips}/0.jpg, which has one;" in said
    assert said.count("\n") == 1
    assert run(input=tmp_path / "moved") == 0
    assert capsys.readouterr().err == "", "now they have rows"


def test_a_part_of_a_folder_that_has_moved_is_told(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    (tmp_path / "part").mkdir()
    for number in (3, 4):
        shutil.copy2(chips / f"{number}.jpg", tmp_path / "part")

    assert run(input=tmp_path / "part") == 0
    assert WARNING in capsys.readouterr().err


def test_other_images_of_the_same_names_have_not_moved(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run() == 0
    (tmp_path / "today").mkdir()
    for number in range(10):
        (tmp_path / f"today/{number}.jpg").write_bytes(chip(number))
    # One of ten is the same, such as a blank tile.
    shutil.copy2(chips / "0.jpg", tmp_path / "today")

    assert run(input=tmp_path / "today") == 0
    assert WARNING not in capsys.readouterr().err

    # Where any image has a row under its path, no file is read to look for others.
    monkeypatch.setattr(moved, "read_images", None)
    shutil.copytree(chips, tmp_path / "today/copy")
    assert run(input=tmp_path / "today") == 0
    os.rename(tmp_path / "today", tmp_path / "again")
    assert run("--overwrite", input=tmp_path / "again") == 0
    assert WARNING not in capsys.readouterr().err
