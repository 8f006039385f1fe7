"""What help pages show of flags, and the one line of a command that is stopped: by what, and what to do then."""

from __future__ import annotations

import argparse
import errno
import importlib
import re

import pytest

from pipelines import cli
from pipelines.commandline.parser import place, print_stopped

FULL = (errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "remedy", "said"),
    [
        (OSError(*FULL), "", "scenetags retag: stopped: No space left on device"),
        (OSError(*FULL, "/out"), "try again", "scenetags retag: stopped: /out: No space left on device; try again"),
        # A file without a name, such as a pipe.
        (OSError(*FULL, 3), "", "scenetags retag: stopped: No space left on device"),
        (OSError("gone"), "", "scenetags retag: stopped: gone"),
    ],
)
def test_what_has_stopped_a_command_is_one_line(
    error: OSError, remedy: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_stopped("scenetags retag", error, remedy) == 1
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize(
    ("command", "switches"),
    [
        ("predict", {"--overwrite", "--embeddings", "--dry_run", "--isolate_decoding"}),
        ("retag", {"--dry_run"}),
        ("train", {"--anonymous"}),
    ],
)
def test_help_shows_a_switch_without_the_value_that_it_may_have(
    command: str, switches: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main([command, "--help"])
    page = capsys.readouterr().out
    shown = dict(re.findall(r"^  (--\w+)(?: (\S.*?))?(?:  |$)", page, re.MULTILINE))
    assert {flag for flag in switches if shown[flag] == ""} == switches
    assert "true|false" not in page
    assert "[FOLDER,...]" in page or command != "predict", "a value that people may give is shown"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "tagged", "--label", "x.csv"], "--label; did you mean --labels?"),
        (["report", "tagged", "--Labels=x.csv"], "--Labels; did you mean --labels?"),
        (["report", "tagged", "-labels", "x.csv"], "-labels; did you mean --labels?"),
        (["report", "--output", "tagged"], "--output; write OUTPUT without a flag"),
        (["compare", "a", "b", "--tags", "road"], "--tags; did you mean --tag?"),
        (["query", "tagged", "--copy-to", "x"], "--copy-to; did you mean --copy_to?"),
        (["query", "tagged", "--novelty", "0.9"], "--novelty; did you mean --min_novelty or --max_novelty?"),
        (["retag", "tagged", "--dry"], "--dry; did you mean --dry_run?"),
        (["evaluate", "--label=x.csv", "--prediction", "x"], "--label; did you mean --labels?"),
        (["predict", "--Input-List", "x.csv"], "--Input-List; did you mean --input_list?"),
        (["plan", "--workerz", "2"], "--workerz; did you mean --workers?"),
        (["train", "--augmentation", "none"], "--augmentation; did you mean --augment?"),
        (["import", "--threshold", "0.3"], "--threshold; did you mean --thresholds?"),
        (["tag", "a.jpg", "--bundle", "x"], "--bundle; did you mean --model?"),
        (["predict", "--input", "x", "--bundle", "y", "--output", "z"], "--bundle; did you mean --model?"),
        (["compare", "--a", "x", "b"], "--a; write A without a flag"),
        (["evaluate", "--labels", "f", "--out", "x"], "--out; write OUTPUT without a flag"),
        (["evaluate", "tagged", "--labels", "f", "--out", "x"], "--out; did you mean --json?"),
        (["query", "tagged", "--tag", "road"], "--tag; write EXPRESSION without a flag"),
        (["query", "tagged", "--limit", "5"], "--limit; did you mean --top?"),
        (["predict", "--file", "x", "--model", "m", "--output", "o"], "--file; did you mean --input?"),
        (["predict", "--input", "x", "--model", "m", "--out", "o"], "--out; did you mean --output?"),
        (["predict", "--input", "x", "--weights", "m", "--output", "o"], "--weights; did you mean --model?"),
        (
            ["predict", "--input", "x", "--model", "m", "--output", "o", "--window", "9"],
            "--window; did you mean --tile?",
        ),
        (["train", "--dataset", "x", "--labels", "l", "--output", "o"], "--dataset; did you mean --images?"),
        (["report", "tagged", "--out", "x.html"], "--out; did you mean --html?"),
        (["map", "tagged", "--tiff", "x.tif"], "--tiff; did you mean --cog?"),
        (["tag", "--file", "x", "--model", "m"], "--file; write IMAGE without a flag"),
        (["stac", "tagged", "--dest", "x"], "--dest; did you mean --to?"),
        (["stac", "tagged", "--to", "x", "--qqq", "0.3"], "--qqq (see scenetags stac --help)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_flag_is_answered_with_the_one_that_is_meant(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"scenetags {words[0]}: unknown argument {said}\n"


def test_a_word_too_many_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "tagged", "chips", "--html", "x.html"]) == 2
    assert capsys.readouterr().err == "scenetags report: unexpected argument chips (see scenetags report --help)\n"


def test_a_url_of_a_local_file_is_its_path() -> None:
    assert place("file:///a%20b/c.html") == "/a b/c.html"
    for unchanged in ("-", "a b/c%20.html", "gs://bucket/x.csv"):
        assert place(unchanged) == unchanged
    with pytest.raises(argparse.ArgumentTypeError, match=r"file://elsewhere/x names a file of another machine; write"):
        place("file://elsewhere/x")


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_no_command_takes_an_empty_value_for_the_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(cli.COMMANDS[command].module).main
    with pytest.raises(SystemExit):
        main(["--help"])
    flags = re.findall(r"^  (--\w+) (?:\[?[A-Z{]|\w+\|)", capsys.readouterr().out, re.MULTILINE)
    assert flags
    for flag in set(flags) - {"--note"}:
        for words in ([flag, ""], [f"{flag}="]):
            assert main(words) == 2
            assert f": {flag} is empty; give it a value or omit it" in capsys.readouterr().err
