"""Images whose folder has another name than in the rows: the run says so before it tags all of them again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.predict.predicting import Predict


def test_a_folder_that_has_moved_is_told(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    assert capsys.readouterr().err == ""
    chips.rename(tmp_path / "moved")

    assert run(input=tmp_path / "moved") == 0

    said = capsys.readouterr().err
    assert f"no image has a row under its path, but {tmp_path}/moved/0.jpg has the name and the finger" in said
    assert f"print of {chips}/0.jpg, which has one; if the folder was moved, every image gets a second row" in said
    assert said.count("\n") == 1
