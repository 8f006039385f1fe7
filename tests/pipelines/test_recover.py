"""`scenetags recover`: what a dead run has staged is committed, and said in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import recover as command
from pipelines.inference.bundle import load_bundle
from pipelines.output.lock import hold_output
from pipelines.output.run import Run
from pipelines.output.staged import announce
from tests.conftest import Bucket
from tests.pipelines.output.rows import FIRST, SECOND, commit_rows, once, seen, stage


@pytest.fixture
def dead(tmp_path: Path, bundle_path: str) -> Run:
    bundle = load_bundle(bundle_path)
    run = Run("20260101T000000Z-0001", str(tmp_path / "out"), bundle, bundle.thresholds)
    announce(run)
    stage(run, FIRST)
    return run


def test_the_command_commits_what_a_dead_run_has_staged(dead: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([dead.output]) == 0
    line = f"recovered 3 images that run {dead.name} had tagged before it ended, and 3 failures\n"
    assert capsys.readouterr() == (line, "")
    assert seen(dead.output) == once(FIRST)

    assert command.main([dead.output, "--log_format=json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["message"] == f"nothing to recover in {dead.output}"
    assert (told["recovered"], told["left"]) == (0, 0)


def test_rows_that_do_not_fit_stay(dead: Run, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(dead, name="20260101T000000Z-0000", thresholds=(0.1, 0.2, 0.3))
    commit_rows(other, SECOND)

    for _ in range(2):
        assert command.main([dead.output]) == 0
        left = f"left 6 rows that run {dead.name} had staged: they were made with different thresholds\n"
        assert capsys.readouterr() == (left, "")
    assert seen(dead.output) == once(SECOND)


def test_rows_of_an_overwrite_wait_for_it(dead: Run, capsys: pytest.CaptureFixture[str]) -> None:
    overwrite = replace(dead, name="20260101T000000Z-0002", overwrite=True)
    announce(overwrite)
    stage(overwrite, SECOND)

    assert command.main([dead.output]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith(f"; they are in {overwrite.folder}, for the same command with --overwrite")
    assert seen(dead.output) == once(FIRST)


def test_what_cannot_be_recovered_is_refused_in_one_line(
    dead: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_output(replace(dead, name="20260101T000000Z-0002")):
        assert command.main([dead.output]) == 2
    assert command.main([str(tmp_path / "nowhere")]) == 2
    (tmp_path / "photos").mkdir()
    assert command.main([str(tmp_path / "photos")]) == 2
    busy, nowhere, elsewhere = capsys.readouterr().err.splitlines()
    assert "is in use by run 20260101T000000Z-0002" in busy
    assert nowhere.startswith(f"scenetags recover: no folder at {tmp_path / 'nowhere'}; ")
    assert elsewhere.startswith(f"scenetags recover: no run has written to {tmp_path / 'photos'}; ")
    assert list((tmp_path / "photos").iterdir()) == []


def test_a_bucket_in_which_no_run_has_written_is_not_taken_for_one_with_nothing_to_recover(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([f"{bucket.path}/misspelled"]) == 2
    said = f"no run has written to {bucket.path}/misspelled; give the --output of a run that has committed rows\n"
    assert capsys.readouterr() == ("", f"scenetags recover: {said}")
