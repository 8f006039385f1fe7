"""`scenetags predict` on nothing: an error, or a run like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.outputs import accounts, manifest
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict


@on_both_runners
def test_an_empty_run_writes_a_manifest_of_zeros(
    run: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips/notes.txt").touch()

    assert run("--allow_empty") == 0
    assert "0 images: 0 tagged, 0 failed, 0 skipped as already tagged" in capsys.readouterr().out
    described = manifest(tmp_path / "out")
    assert (described["status"], described["inputs"]) == ("done", 0)
    assert described["passed_over"] == {".txt": 1, "inputs without images": 1}


def test_an_empty_input_among_others_is_named_in_a_line(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "today").mkdir()

    assert run(f"--input={tmp_path}/today") == 0

    said = capsys.readouterr().err
    assert said.startswith(f"scenetags predict: no images in {tmp_path}/today (looked for ")
    assert said.count("\n") == 1
    assert accounts(tmp_path / "out")["inputs"] == 10
