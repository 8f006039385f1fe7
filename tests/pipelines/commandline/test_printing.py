"""Names and messages of strangers reach the terminal as text, and never as orders to it."""

from __future__ import annotations

import ast
import errno
import io
import json
import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import predict, tag
from pipelines.commandline import printing
from pipelines.commandline.parser import print_error
from pipelines.commandline.printing import announce, log, log_libraries, show, use_log_format
from pipelines.credentials import without_secrets
from pipelines.errors import ScenetagsError, printable
from tests import ROOT
from tests.image_files import encode, picture

HOSTILE = "\x1b]0;owned\x07\x1b[2K\rfake\n\u202egnp\u2066\x9b31m\u2028.jpg"

PRINTS = {
    "pipelines/commandline/printing.py",
    # JSON, which has escapes of its own.
    *("pipelines/plan.py", "model/evaluate.py"),
    # The path that the user gave.
    "model/synthetic/__main__.py",
    # It escapes by itself, because it cannot import the room of the command line.
    "pipelines/supervision/watchdog.py",
}


def is_text(printed: str) -> bool:
    """Return whether a terminal would show all of it as it is."""
    return all(line.isprintable() for line in printed.split("\n"))


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_is_printed_is_one_line_that_orders_nothing(text: str) -> None:
    stream = io.StringIO()
    show(text, file=stream)
    line = stream.getvalue().removesuffix("\n")
    assert all(character.isprintable() or unicodedata.category(character) == "Zs" for character in line)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("forêt 🌲/日本\u3000語.jpg", "forêt 🌲/日本\u3000語.jpg"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\a\b\t\r\n\x7f\x00", r"\x07\x08\t\r\n\x7f\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("cod\u202egpj.exe", r"cod\u202egpj.exe"),
        ("a\u2066b\u2069\u200b\ufeff", r"a\u2066b\u2069\u200b\ufeff"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\udcff\ud800", r"\udcff\ud800"),
    ],
)
def test_what_orders_something_is_escaped_and_the_rest_is_not(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_a_terminal_of_few_characters_fails_no_command() -> None:
    printed = io.BytesIO()
    terminal = io.TextIOWrapper(printed, encoding="ascii")
    show("forêt █", file=terminal)
    terminal.flush()
    assert printed.getvalue() == rb"for\xeat \u2588" + b"\n"


def test_an_error_is_one_line_whatever_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("scenetags tag", ScenetagsError(f"{HOSTILE} is wrong", "mend it"))
    printed = capsys.readouterr().err
    assert is_text(printed)
    assert printed.count("\n") == 1


def test_no_name_controls_the_terminal(tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    (folder / HOSTILE).write_bytes(encode(picture(), "jpeg"))
    (folder / f"bad {HOSTILE}").write_bytes(b"no image")
    (folder / "notes.\x1b[31m").write_bytes(b"")
    named = [f"--input={folder}", f"--model={bundle_path}", f"--output={tmp_path / 'out'}", "--progress=off"]

    assert tag.main([str(folder), f"--model={bundle_path}"]) == 1
    assert predict.main([*named, "--max_failure_rate=0", "--fail_fast"]) == 3
    assert predict.main(named) == 3
    printed = "".join(capsys.readouterr())

    assert is_text(printed), ascii(printed)
    assert r"\x1b]0;owned\x07\x1b[2K\rfake\n\u202egnp\u2066\x9b31m\u2028.jpg" in printed
    assert HOSTILE in os.listdir(folder)


@pytest.fixture
def in_json() -> Iterator[None]:
    use_log_format("json")
    yield
    use_log_format("text")


def test_a_message_in_json_is_one_object_without_secrets(in_json: None, capfd: pytest.CaptureFixture[str]) -> None:
    log_libraries(verbose=False)
    log(f"{HOSTILE}: gone", "second line https://host/a?X-Amz-Signature=abc", exit_code=1)
    announce("stopping")
    logging.getLogger("pipelines.output.lock").warning("%s is slow", HOSTILE)

    lines = capfd.readouterr().err.splitlines()
    first, second, third = map(json.loads, lines)
    assert all(map(is_text, lines))
    assert first["message"].startswith(f"{HOSTILE}: gone\nsecond line https://host/a")
    assert "abc" not in lines[0]
    assert [first["severity"], first["exit_code"]] == ["ERROR", 1]
    assert [second["severity"], second["message"]] == ["WARNING", "scenetags: stopping"]
    assert [third["severity"], third["message"]] == ["WARNING", f"scenetags: {HOSTILE} is slow"]
    assert datetime.fromisoformat(first["time"]).tzinfo == UTC


@pytest.mark.parametrize(
    "said", ['password = "hunter2', "secret: 'hunter2", 'https://host/a?sig=b"hunter2', 'key="a\\"hunter2']
)
def test_what_is_withheld_takes_no_sign_of_json_along(
    in_json: None, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    log(said, output=said)

    logged = json.loads(capsys.readouterr().err)
    assert logged["message"] == logged["output"] == without_secrets(said)


class Pieces(io.StringIO):
    """A stream that keeps what it is given in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_message_is_written_in_one_piece_because_threads_log_too(
    log_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "_log_format", log_format)
    monkeypatch.setattr(sys, "stderr", Pieces())

    log("first", "second")

    assert isinstance(sys.stderr, Pieces)
    [piece] = sys.stderr.pieces
    assert piece.endswith("\n")


def test_messages_that_nobody_reads_stop_nothing(monkeypatch: pytest.MonkeyPatch, capfd: object) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    # What the signal handler writes goes to the descriptor.
    os.dup2(writing, 2)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(BrokenPipeError):
            os.write(2, b"this would stop a run")
        announce("stopping")
        log("first")
        log("second")


def test_libraries_log_what_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    def logged(verbose: bool) -> list[str]:
        log_libraries(verbose)
        for name in ("pipelines.output.lock", "apache_beam.io", "root", "apache_beam.runners.dataflow.x"):
            for level in (logging.INFO, logging.WARNING):
                logging.getLogger(name).log(level, "%s %d", HOSTILE, level)
        return [line.replace(printable(HOSTILE), "*") for line in capsys.readouterr().err.splitlines()]

    assert logged(verbose=False) == ["scenetags: * 30"]
    assert logged(verbose=True) == [
        *("scenetags: * 20", "scenetags: * 30", "apache_beam.io: * 30"),
        *("apache_beam.runners.dataflow.x: * 20", "apache_beam.runners.dataflow.x: * 30"),
    ]
    log_libraries(verbose=False)


def test_no_other_module_prints() -> None:
    for package in ("pipelines", "model"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                    assert name in PRINTS, f"{name}, line {node.lineno}: use `show`"


class Gone(io.StringIO):
    """A stream in the place of standard error, of which nobody reads the rest."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_broken_stream_in_its_place_leaves_standard_error_itself_alone(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())
    log("lost")
    os.write(2, b"still there\n")

    assert capfd.readouterr().err == "still there\n"
