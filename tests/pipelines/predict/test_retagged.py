"""Runs into an output whose tags `scenetags retag` has chosen anew: one output has one set of thresholds and rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import retag
from pipelines.results.outputs import open_output
from tests.outputs import manifest, rows
from tests.pipelines.predict.predicting import Predict, chip

COLUMNS = {"bright": "p_bright", "green": "p_green", "blue": "p_blue"}


def tags(output: Path, threshold: float) -> bool:
    """Return whether all rows are tagged with this threshold, and never with `bright` beside another tag."""
    chosen = []
    for row in rows(output):
        tags = [label for label, column in COLUMNS.items() if row[column] >= threshold]
        chosen.append(row["tags"] == (["bright"] if "bright" in tags else tags))
    return bool(chosen) and all(chosen)


@pytest.fixture
def output(run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Write an output of ten chips, retag it, and add a chip."""
    assert run() == 0
    assert retag.main([str(tmp_path / "out"), "--thresholds=0.125", "--alone=bright"]) == 0
    assert tags(tmp_path / "out", 0.125)
    (chips / "new.jpg").write_bytes(chip(40))
    (chips / "3.jpg").write_bytes(chip(41))
    capsys.readouterr()
    return tmp_path / "out"


def test_new_images_are_tagged_as_those_that_were_retagged(
    run: Predict, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0

    assert "was retagged, so new images are tagged with its thresholds and --alone bright" in capsys.readouterr().err
    assert [manifest(output)[name] for name in ("predictions", "skipped")] == [2, 9]
    assert manifest(output)["thresholds"] == dict.fromkeys(COLUMNS, 0.125)
    assert tags(output, 0.125)
    footer = open_output(str(output)).footer()
    assert (footer.thresholds, footer.rules.alone, footer.retagged) == ((0.125,) * 3, ("bright",), True)
    assert run(threshold=0.125) == 0


def test_thresholds_other_than_those_of_retag_are_refused_until_the_output_is_retagged_again(
    run: Predict, output: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(threshold=0.9) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "holds rows to which `scenetags retag` gave different thresholds; omit --threshold to give new rows the same, "
        "or retag the output with the new one first"
    )

    assert retag.main([str(output), "--thresholds=0.9"]) == 0
    assert run(threshold=0.9) == 0
    assert manifest(output)["thresholds"] == dict.fromkeys(COLUMNS, 0.9)

    assert retag.main([str(output), f"--from={bundle_path}"]) == 0
    capsys.readouterr()
    assert run() == 0
    assert "retagged" not in capsys.readouterr().err
    assert manifest(output)["thresholds"] == dict.fromkeys(COLUMNS, 0.5)


def test_an_overwrite_has_the_thresholds_of_its_own_command(run: Predict, output: Path, bundle_path: str) -> None:
    assert run("--overwrite") == 0

    footer = open_output(str(output)).footer()
    assert (footer.thresholds, bool(footer.rules), footer.retagged) == ((0.5,) * 3, False, False)
