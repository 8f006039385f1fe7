"""`scenetags plan`: how it ends where there is nothing to plan, or something is wrong."""

from __future__ import annotations

import json
import re
import shlex
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines import plan
from pipelines.supervision import interruption
from tests.pipelines.plan.planning import Run, commands


def test_nothing_that_can_be_tagged_ends_with_code_3(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    for number in range(3):
        (tmp_path / f"bad/{number}.jpg").write_bytes(b"no image")

    assert run(input=tmp_path / "bad") == 3

    printed = capsys.readouterr().out
    assert "  failures  3 of 3 sampled; expected in total: 3 of 3\n" in printed
    assert "NO IMAGE IN THE SAMPLE COULD BE TAGGED" in printed
    assert not commands(printed)
    assert run(input=tmp_path / "bad", json="-") == 3
    assert json.loads(capsys.readouterr().out)["here"] is None


def test_names_that_are_all_missing_end_with_code_3(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("gone.jpg\n")

    assert run(input=None, input_list=tmp_path / "names.txt") == 3

    printed = capsys.readouterr().out
    assert printed.startswith("0 images, 0 bytes, ")
    assert "  failures  0 of 0 sampled; expected in total: 1 of 1\n" in printed


def test_a_plan_for_nothing_is_one_where_that_is_allowed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()

    assert run("--allow_empty", input=tmp_path / "none") == 0

    printed = capsys.readouterr().out
    assert re.fullmatch(r"0 images, 0 bytes, listed in \d\.\d s\npassed over: inputs without images 1\n", printed)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"input": "gone"}, "no file or folder matches gone"),
        ({"input": "EMPTY"}, "no images in "),
        ({"input": None}, "nothing to tag; give --input PATTERN or --input_list FILE"),
        ({"model": "gone"}, "bundle.json cannot be read"),
        ({"model": None}, "the following arguments are required: --model"),
        (
            {"machine": "n2-highcp-16"},
            "unknown machine type 'n2-highcp-16'; did you mean n2-highcpu-16? use one of",
        ),
        ({"workers": 2, "hours": 1}, "--workers and --hours cannot be combined; omit one of them"),
        ({"workers": 0}, "--workers 0: not a whole number from 1 to 1,000,000,000"),
        ({"workers": 3000}, "--workers 3000 exceeds Dataflow's limit of 2,000 per job"),
        ({"hours": "nan"}, "--hours nan: not a finite number above 0"),
        ({"sample": 0}, "--sample 0: not a whole number from 1 to 1,000,000,000"),
        ({"reads_in_flight": 0}, "--reads_in_flight 0: not a whole number from 1 to 4,096"),
        ({"json": "plan.txt"}, "--json plan.txt is not a .json file"),
        ({"json": "gone/plan.json"}, "--json gone/plan.json: the folder does not exist; create it first"),
        ({"json": "BUNDLE/bundle.json"}, "is inside the model bundle; choose another file"),
        ({"sampel": 3}, "unknown argument --sampel; did you mean --sample?"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    run: Run, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str], flags: dict[str, Any], reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    named = {"EMPTY": tmp_path / "empty", "BUNDLE/bundle.json": f"{bundle_path}/bundle.json"}

    assert run(**{name: named.get(value, value) for name, value in flags.items()}) == 2

    printed = capsys.readouterr()
    assert printed.err.startswith("scenetags plan: ")
    assert reason in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_an_interrupted_plan_says_so(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check, pressed = interruption.check, threading.Event()

    def press() -> None:
        # Once: threads that list images may still be running when signals are no longer deferred.
        if not pressed.is_set() and signal.getsignal(signal.SIGINT) is interruption._receive:
            pressed.set()
            signal.raise_signal(signal.SIGINT)
        check()

    monkeypatch.setattr(interruption, "check", press)

    assert run() == 130
    assert capsys.readouterr().err == "scenetags plan: interrupted by SIGINT\n"


def test_help_lists_every_exit_code_and_an_example_that_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        plan.main(["--help"])
    printed = capsys.readouterr().out

    for code in (0, 2, 3):
        assert f"\n  {code}  " in printed
    [example] = [line for line in printed.splitlines() if line.startswith("  scenetags plan ")]
    assert plan.parse_plan(shlex.split(example)[2:]).hours == 2
