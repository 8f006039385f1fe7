"""Words for flags: each leads to a flag or argument that there is, and to none of Beam's."""

from __future__ import annotations

import argparse
import importlib
import io
import re
from contextlib import redirect_stdout

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import cli
from pipelines.commandline.nearest import find_nearest
from pipelines.commandline.synonyms import ARGUMENTS, FLAGS


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Return the help pages of all commands."""
    return {name: page_of(command.module) for name, command in cli.COMMANDS.items()}


def page_of(module: str) -> str:
    with redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    return shown.getvalue()


def test_every_word_leads_to_a_flag_or_an_argument_that_there_is(pages: dict[str, str]) -> None:
    flags = {flag for page in pages.values() for flag in re.findall(r"^  --(\w+)", page, re.MULTILINE)}
    arguments = {name for page in pages.values() for name in re.findall(r"^  ([A-Z]+) ", page, re.MULTILINE)}
    assert {name for names in FLAGS.values() for name in names} <= flags
    assert {name for names in ARGUMENTS.values() for name in names} <= arguments


def test_no_word_for_a_flag_of_predict_is_a_flag_of_beam(pages: dict[str, str]) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    theirs = {name.lstrip("-") for action in parser._actions for name in action.option_strings}
    assert "runner" in theirs
    ours = set(re.findall(r"^  --(\w+)", pages["plan"], re.MULTILINE))
    assert not theirs & {word for word, names in FLAGS.items() if ours.intersection(names)}


@pytest.mark.parametrize("flag", ["--qqq", "--region", "--x", "--foo_bar", "--password"])
def test_a_word_that_nobody_uses_for_a_flag_is_not_guessed(flag: str, pages: dict[str, str]) -> None:
    for page in pages.values():
        assert not find_nearest(flag, re.findall(r"^  (--\w+)", page, re.MULTILINE), sure=True)


def test_a_flag_that_a_command_has_is_not_meant_by_another_word() -> None:
    assert find_nearest("--out", ["--html", "--json", "--out"]) == ["--out"]
    assert find_nearest("--out", ["--html", "--json"]) == ["--html", "--json"]
    assert find_nearest("--out", ["--bands"]) == []
