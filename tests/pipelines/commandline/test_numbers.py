"""Flags that take numbers: the one line that is printed for any other value, and the range that it names."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from pipelines.commandline.numbers import Range, at_least, between, spelled
from pipelines.commandline.parser import Parser, UsageError
from pipelines.plan import parse_plan
from tests import ROOT

SIDE = at_least(16, 8192)


def told(allowed: Range, value: str) -> str:
    parser = Parser("scenetags some", "")
    parser.add_argument("--some", type=allowed)
    with pytest.raises(UsageError) as raised:
        parser.parse_args(["--some", value])
    return str(raised.value)


@pytest.mark.parametrize(
    ("allowed", "value", "said"),
    [
        (SIDE, "x", "not a whole number from 16 to 8,192"),
        (SIDE, "5", "not a whole number from 16 to 8,192"),
        (SIDE, "-5", "not a whole number from 16 to 8,192"),
        (SIDE, "1,5", "not a whole number from 16 to 8,192"),
        (SIDE, "1,024", "not a whole number from 16 to 8,192; write 1024"),
        (SIDE, "1e3", "not a whole number from 16 to 8,192; write 1000"),
        (SIDE, "1e9", "not a whole number from 16 to 8,192"),
        (SIDE, "9" * 5000, "not a whole number from 16 to 8,192"),
        (Range(1, whole=True), "0", "not a whole number of at least 1"),
        (Range(1, 256, whole=True, word="auto"), "two", "not a whole number from 1 to 256, or auto"),
        (between(0, 1), "1,5", "not a number from 0 to 1"),
        (between(0, 1), "0,5", "not a number from 0 to 1; write 0.5"),
        (between(0, 1), "-nan", "not a number from 0 to 1"),
        (Range(0, 86_400, above=True), "0", "not a number above 0 and up to 86,400"),
        (Range(0, above=True), "inf", "not a finite number above 0"),
        (Range(example="0"), "-inf", "not a finite number; write e.g. 0"),
        (Range(example="0"), "x", "not a finite number; write e.g. 0"),
    ],
)
def test_a_number_out_of_range_is_one_line_with_value_flag_and_range(allowed: Range, value: str, said: str) -> None:
    assert told(allowed, value) == f"--some {value}: {said}"


def test_numbers_at_the_bounds_are_read() -> None:
    assert [SIDE("16"), SIDE("8192"), between(0, 1)("1"), Range()("-1e30")] == [16, 8192, 1, -1e30]
    assert Range(1, 256, whole=True, word="auto")("auto") is None
    with pytest.raises(argparse.ArgumentTypeError):
        Range(0, above=True)("0")


def test_an_empty_or_missing_value_says_how_to_give_one() -> None:
    assert told(SIDE, "").startswith("--some is empty; give it a value or omit it")
    parser = Parser("scenetags some", "")
    parser.add_argument("--some", type=SIDE)
    with pytest.raises(UsageError, match=r"^--some needs a value; write --some VALUE, or --some=VALUE if it"):
        parser.parse_args(["--some"])


def test_every_flag_that_takes_a_number_has_a_range() -> None:
    files = [path for package in ("pipelines", "model") for path in Path(ROOT, package).rglob("*.py")]
    assert files
    for path in files:
        assert not re.search(r"\btype=(int|float)\b", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("number", [0.0, -0.0, 3.0, 0.1, -9999.0, 1e30, 5e-324, 65535, 1 / 3])
def test_a_number_is_spelled_as_it_may_have_been_written(number: float) -> None:
    assert float(spelled(number)) == number
    assert not spelled(number).endswith(".0")


def test_a_plan_takes_the_numbers_of_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"^--sample 1e3: not a whole number from 1 to 1,000,000,000; write 1000$"):
        parse_plan(["--input=x", "--model=y", "--sample=1e3"])
