"""What a run says to those who collect logs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from pipelines.supervision import progress, watchdog
from tests.pipelines.predict.predicting import Predict


def test_every_message_is_an_object_and_verbose_tells_each_failure_and_commit(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    (chips / "3.jpg").write_bytes(b"")

    flags = "--verbose", "--progress=auto", "--max_failure_rate=0"
    assert run(*flags, log_format="json", checkpoint_every=5) == 3

    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert [summary[name] for name in ("inputs", "predictions", "failures")] == [10, 9, 1]
    assert summary["message"].startswith("10 images: 9 tagged, 1 failed, 0 skipped")
    assert summary["output"] == str(tmp_path / "out")
    logged = [json.loads(line) for line in printed.err.splitlines()]
    messages = [entry["message"] for entry in logged]
    for expected in (
        f"scenetags: {chips}/3.jpg: decode: empty file",
        *("scenetags: committed 5 of 10 images", "scenetags: committed 10 of 10 images"),
    ):
        assert expected in messages
    assert [entry["done"] for entry in logged if "done" in entry], "no progress"
    assert (logged[-1]["severity"], logged[-1]["exit_code"]) == ("ERROR", 3)


def test_what_is_wrong_with_the_arguments_is_an_object_as_well(
    run: Predict, chips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--max_pixels=many", log_format="json") == 2

    [line] = capsys.readouterr().err.splitlines()
    assert "--max_pixels many: not a whole number of at least 1" in json.loads(line)["message"]


def test_what_does_not_end_a_run_is_no_error(
    run: Predict, chips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(watchdog, "_start", refuse)

    assert run(log_format="json") == 0
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["severity"] == "WARNING"
    assert "cannot start the process that explains a crash" in json.loads(line)["message"]


def test_a_plain_run_is_quiet(run: Predict, chips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (chips / "3.jpg").write_bytes(b"")

    assert run("--max_failure_rate=1") == 0
    assert capsys.readouterr().err == ""
