"""Names and messages of strangers reach the terminal as text, and never as orders to it."""

from __future__ import annotations

import ast
import io
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import predict, tag
from pipelines.commandline.parser import print_error
from pipelines.commandline.printing import show
from pipelines.errors import ScenetagsError, printable
from tests import ROOT
from tests.image_files import encode, picture

HOSTILE = "\x1b]0;owned\x07\x1b[2K\rfake\n\u202egnp\u2066\x9b31m\u2028.jpg"

PRINTS = {
    "pipelines/commandline/printing.py",
    # JSON, which has escapes of its own.
    *("pipelines/plan.py", "model/evaluate.py"),
    # Only numbers, or the path that the user gave.
    *("pipelines/supervision/progress.py", "model/synthetic/__main__.py"),
    # They escape themselves, because they cannot import the room of the command line.
    *("pipelines/supervision/watchdog.py", "pipelines/output/lock.py"),
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
    show("forêt █", file=terminal, flush=True)
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


def test_no_other_module_prints() -> None:
    for package in ("pipelines", "model"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                    assert name in PRINTS, f"{name}, line {node.lineno}: use `show`"
