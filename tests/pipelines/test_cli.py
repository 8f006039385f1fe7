"""`scenetags` hands over to its commands."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import cli


def test_a_missing_library_is_reported_with_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(command: Any) -> Any:
        raise ModuleNotFoundError("No module named 'missing'", name="missing.part")

    monkeypatch.setattr("importlib.import_module", without)
    assert [cli.main([command]) for command in ("evaluate", "train")] == [2, 2]
    assert capsys.readouterr().err.splitlines() == [
        "scenetags evaluate: missing.part is not installed; run pip install 'scenetags'",
        "scenetags train: missing.part is not installed; run pip install 'scenetags[train]'",
    ]


SCENETAGS = [sys.executable, "-m", "pipelines.cli"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_nobody_reads_on_is_no_error(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = [
        subprocess.run([*SCENETAGS, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, env=environment)
        for arguments in (["--help"], ["tag", "--help"])
    ]

    os.close(writing)
    assert [each.stderr for each in ended] == ["", ""]
    assert ended[0].returncode == 128 + signal.SIGPIPE


def test_an_output_that_takes_no_more_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run([*SCENETAGS, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)

    assert ended.stderr == "scenetags: the result cannot be printed: No space left on device\n"
    assert ended.returncode == 1


def test_a_broken_pipe_elsewhere_is_not_taken_for_a_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_connection(arguments: Any) -> int:
        raise BrokenPipeError("to a server")

    monkeypatch.setattr("pipelines.tag.main", lose_connection)
    with pytest.raises(BrokenPipeError, match="to a server"):
        cli.main(["tag"])


@pytest.mark.parametrize("command", ["tag", "evaluate"])
def test_ctrl_c_ends_a_command_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(arguments: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{cli.COMMANDS[command].module}.main", interrupt)

    assert cli.main([command]) == 130
    assert capsys.readouterr().err == f"\nscenetags {command}: interrupted\n"


def test_a_bug_is_shown_whole_but_for_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: Any) -> int:
        raise TypeError("GET https://me:hunter1@host/b?sig=hunter2, secret_key='hunter3'")

    monkeypatch.setattr("pipelines.tag.main", fail)
    assert cli.main(["tag"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.endswith("TypeError: GET https://...@host/b?... secret_key=...\n")


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_no_error(closed: int) -> None:
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *SCENETAGS, "--version"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert bool(ended.stdout) == (closed == 2)


def test_what_a_library_warns_of_while_it_is_imported_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Beam does, through the root logger, which would log everything a second time from then on."""

    def warn(arguments: Any) -> int:
        logging.warning("not found")
        return 0

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logging.getLogger().setLevel(logging.WARNING)
    monkeypatch.setattr("pipelines.tag.main", warn)

    assert cli.main(["tag"]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "command",
    [
        "stac out --to gs:/b/x",
        "report out --html gs:/b/x.html",
        "compare out out --json gs:/b/x.json",
        "map out --geojson gs:/b/x.geojson",
        "map out --cog gs:/b/x",
        "query out --csv gs:/b/x.csv",
        "query out --copy_to gs:/b/x",
        "query out --link_to gs:/b/x",
        "evaluate out --labels x.csv --json gs:/b/x.json",
        "import x.onnx --output gs:/b/x",
    ],
)
def test_what_should_be_written_to_a_bucket_and_lacks_a_slash_is_not_written_to_this_machine(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == 2
    flag, path = command.split()[-2:]
    said = capsys.readouterr().err
    assert f"{flag}: {path} would be on this machine; did you mean {path.replace('gs:/', 'gs://')}?" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["query gs:/b/out", "recover gs:/b/out", "ddl duckdb gs:/b/out"])
def test_an_output_in_a_bucket_that_lacks_a_slash_is_answered_with_what_was_meant(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command.split()) == 2
    assert "no folder at gs:/b/out; did you mean gs://b/out?" in capsys.readouterr().err
