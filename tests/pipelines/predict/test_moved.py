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
    assert f"the output has no row for any of these paths, but {tmp_path}/moved/0.jpg matches {chips}/0.jpg" in said
    assert "if the folder was moved, press Ctrl-C and use its old path, or every image gets a second row" in said
    assert said.count("\n") == 1
