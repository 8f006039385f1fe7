"""`scenetags retag`: thresholds from wherever they are, and one clear line for each mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import retag as command
from pipelines.output.run import RUNS, OutputRun
from pipelines.results.outputs import open_output
from tests.outputs import manifest
from tests.pipelines.results.scene_outputs import THRESHOLDS, footer, image, write_rows

NEW = {"clear": 0.75, "bare ground": 1, "road": 0.3}
COLUMNS = ("p_clear", "p_bare_ground", "p_road")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    row = {**image("/archive/chip.jpg"), "tags": ["clear"], "p_clear": 0.6, "p_road": 0.3}
    write_rows(tmp_path / "out", {**row, "fingerprint": "1", "model": "b" * 64, "run": "1"})
    return tmp_path / "out"


def thresholds_of(output: Path) -> tuple[float, ...]:
    return open_output(str(output)).footer().thresholds


FILES: dict[str, object] = {
    "an object": NEW,
    "the manifest of a bundle": {"labels": list(NEW), "thresholds": list(NEW.values()), "name": "other"},
    "the manifest of a run": {"run": "1", "thresholds": NEW},
}


@pytest.mark.parametrize("kind", FILES)
def test_thresholds_come_from_a_file_of_any_kind(
    kind: str, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps(FILES[kind]))

    assert command.main([str(output), "--thresholds", str(file)]) == 0

    assert thresholds_of(output) == (0.75, 1.0, 0.3)
    assert manifest(output)["thresholds"] == NEW
    assert manifest(output)["retagged"]["lost"] == {"clear": 1, "bare ground": 0, "road": 0}
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == f"{output}: 1 of 1 prediction got different tags"
    # In float32, the road's probability reaches its threshold.
    assert [line.split() for line in printed.splitlines()[-1:]] == [["road", "0.2137", "to", "0.3", "0", "1", "0", "1"]]


def test_one_value_is_for_all_labels_and_rules_alone_leave_thresholds(output: Path) -> None:
    assert command.main([str(output), "--exclusive", "clear,bare ground", "--alone=road", "--dry_run"]) == 0
    assert not (output / RUNS).exists()
    assert command.main([str(output), "--exclusive", "clear,bare ground", "--alone=road"]) == 0
    found = open_output(str(output)).footer()
    assert (found.thresholds, found.rules.exclusive, found.rules.alone) == (
        THRESHOLDS,
        (("clear", "bare ground"),),
        ("road",),
    )
    assert manifest(output)["rules"] == {"exclusive": [["clear", "bare ground"]], "alone": ["road"]}

    assert command.main([str(output), "--thresholds=0.5"]) == 0
    found = open_output(str(output)).footer()
    assert (found.thresholds, bool(found.rules)) == ((0.5,) * 3, False)


def named(content: str) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        (folder / "t.json").write_text(content)
        return ["--thresholds", str(folder / "t.json")]

    return write


def with_thresholds(**changed: Any) -> Callable[[Path], list[str]]:
    return named(json.dumps({name: value for name, value in {**NEW, **changed}.items() if value is not None}))


MISTAKES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "nothing": (lambda _: [], "nothing to change; give --threshold, --thresholds, --from, --exclusive or --alone"),
    "no label": (lambda _: ["--threshold=raod=0.1"], "--threshold raod=0.1: raod is not a label of the model; did you"),
    "no probability": (lambda _: ["--threshold=road=2"], "road=2 is not LABEL=P with a probability from 0 to 1"),
    "no label at all": (
        lambda _: ["--threshold=0.3"],
        "0.3 is not LABEL=P, e.g. road=0.1; for all labels at once, use --thresholds 0.3",
    ),
    "one label for all": (lambda _: ["--thresholds=road=0.3"], "--thresholds road=0.3 is for one label; use --thresh"),
    "both": (
        lambda _: ["--thresholds=0.5", "--from=b"],
        "--thresholds and --from cannot be combined; omit one of them",
    ),
    "no file": (
        lambda _: ["--thresholds=0,5"],
        "--thresholds 0,5: no such file; give a JSON file, or a number from 0 t",
    ),
    "a folder": (lambda folder: ["--thresholds", str(folder)], "cannot be read: Is a directory"),
    "beyond 1": (lambda _: ["--thresholds=1.01"], "--thresholds 1.01: 1.01 is not a number from 0 to 1"),
    "nan": (lambda _: ["--thresholds=nan"], "--thresholds nan: nan is not a number from 0 to 1"),
    "no JSON": (named("clear: 0.5"), "is not JSON: Expecting value"),
    "more labels": (
        named('{"labels": ["clear", "road"], "thresholds": [0.5]}'),
        "t.json has 2 labels and 1 threshold",
    ),
    "digits": (named('{"clear": ' + "1" * 5000 + "}"), "is not JSON: a number has too many digits"),
    "too deep": (named("[" * 100_000), "is not JSON: it is nested too deeply"),
    "twice": (named('{"clear": 0.5, "clear": 0.6}'), "is not JSON: the name 'clear' occurs twice"),
    "a list": (named("[0.5, 0.5, 0.5]"), 'is not a JSON object; write {"LABEL": 0.5, ...}'),
    "a text": (with_thresholds(road="0.5"), "'0.5' of road is not a number from 0 to 1"),
    "true": (with_thresholds(road=True), "True of road is not a number from 0 to 1"),
    "NaN": (with_thresholds(road=float("nan")), "nan of road is not a number from 0 to 1"),
    "unknown": (
        with_thresholds(raod=0.5),
        "raod is not a label of the model; did you mean road?",
    ),
    "missing": (with_thresholds(road=None), "has no threshold for road; add one for each label"),
    "one by one, twice": (
        lambda _: ["--threshold=road=0.1", "--threshold=road=0.2"],
        "--threshold road is given twice, as 0.1 and 0.2; choose one",
    ),
    "unknown rule": (lambda _: ["--alone=clouds"], "--alone: clouds is not a label of the model"),
    "a group of one": (lambda _: ["--exclusive=clear"], "'clear' does not name two or more different labels"),
    "the same twice": (lambda _: ["--exclusive=clear,clear"], "does not name two or more different labels"),
    "an open quote": (lambda _: ['--exclusive="clear,road'], "is not a line of CSV: unexpected end of data"),
    "no bundle": (lambda folder: ["--from", str(folder)], "no bundle at"),
}


def test_thresholds_are_given_one_by_one_and_the_others_stay(output: Path) -> None:
    before = dict(zip(NEW, thresholds_of(output), strict=True))
    assert command.main([str(output), "--threshold=road=0.15"]) == 0
    assert thresholds_of(output) == tuple({**before, "road": 0.15}.values())
    assert command.main([str(output), "--thresholds=0.5", "--threshold=clear=0.25", "--threshold", "road=1"]) == 0
    assert thresholds_of(output) == tuple({**dict.fromkeys(NEW, 0.5), "clear": 0.25, "road": 1.0}.values())
    assert manifest(output)["options"]["threshold"] == {"clear": 0.25, "road": 1.0}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(
    mistake: str, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, message = MISTAKES[mistake]
    before = [(path, path.read_bytes()) for path in output.rglob("*.*")]

    assert command.main([str(output), *flags(tmp_path)]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert [(path, path.read_bytes()) for path in output.rglob("*.*")] == before


def test_what_is_no_output_is_one_line_and_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    write_rows(tmp_path / "foreign", image("a.jpg"), metadata={"x": "y"})
    (tmp_path / "half/predictions").mkdir(parents=True)
    (tmp_path / "half/predictions/a.parquet").write_bytes(b"PAR1")

    for name, message in (
        ("missing", f"no folder at {tmp_path}/missing; did you mean "),
        ("empty", "has no predictions/*.parquet"),
        ("foreign", "its footer names no model"),
        ("half", "is damaged or not a Parquet file"),
    ):
        assert command.main([str(tmp_path / name), "--thresholds=0.5"]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert message in line
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.parquet", "a.parquet"]
    assert not (tmp_path / "missing").exists()


def test_a_full_disk_is_one_line_and_the_same_command_finishes(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(run: OutputRun, work: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.output.retagging.describe_done", fill)
        assert command.main([str(output), "--thresholds=0.5"]) == 1
    assert capsys.readouterr().err == (
        "scenetags retag: stopped: No space left on device; run the same command again to finish\n"
    )
    assert thresholds_of(output) == THRESHOLDS
    assert sorted(path.name for path in output.iterdir()) == ["predictions"]

    assert command.main([str(output), "--thresholds=0.5"]) == 0
    assert thresholds_of(output) == (0.5, 0.5, 0.5)


def test_other_labels_and_other_bundles_are_told(
    output: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([str(output), "--from", bundle_path]) == 2
    assert "its labels are not those of the output; give its own bundle" in capsys.readouterr().err

    labels = ("blue", "bright", "green")
    described = footer(
        labels=labels,
        thresholds=[0.1] * 3,
        columns=dict(zip(labels, COLUMNS, strict=True)),
    )
    row = {**image("/archive/chip.jpg"), "fingerprint": "1", "model": "b" * 64, "run": "1"}
    write_rows(output, row, metadata=described)
    assert command.main([str(output), "--from", bundle_path]) == 0
    assert "is not the bundle that made these predictions" in capsys.readouterr().err
    assert thresholds_of(output) == (0.5, 0.5, 0.5)
