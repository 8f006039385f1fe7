"""A plan for an output that holds rows: for a run that adds to them, or refused as that run would be."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipelines import cli, predict
from pipelines.inference.precision import Choice
from pipelines.inference.processor import bfloat16_units
from pipelines.job import preparation
from pipelines.planning.precisions import Changes, Rate, describe, weigh
from tests import outputs
from tests.outputs import manifest
from tests.pipelines.plan.planning import Run, commands, planned

with_bfloat16 = pytest.mark.skipif(
    not bfloat16_units() or not find_spec("openvino"), reason="bfloat16 cannot be computed here"
)


@pytest.fixture
def exact(folder: Path, bundle_path: str, tmp_path: Path) -> Path:
    """Return an output with a row in float32."""
    return tagged(folder, bundle_path, tmp_path / "out", "float32")


def tagged(folder: Path, bundle_path: str, output: Path, precision: str) -> Path:
    flags = [f"--input={folder}/0.jpg", f"--model={bundle_path}", f"--output={output}", f"--precision={precision}"]
    assert predict.main([*flags, "--progress=off"]) == 0
    return output


@pytest.mark.parametrize("held", ["float32", pytest.param("bfloat16", marks=with_bfloat16)])
def test_a_plan_for_an_output_with_rows_is_in_their_precision(
    run: Run,
    folder: Path,
    bundle_path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    held: str,
) -> None:
    output = tagged(folder, bundle_path, tmp_path / "out", held)
    other = "float32" if held == "bfloat16" else "bfloat16"
    monkeypatch.setattr(preparation, "choose_precision", lambda *_: Choice(other))
    monkeypatch.setattr(preparation, "can_bfloat16", lambda *_: other == "bfloat16")
    capsys.readouterr()

    assert run(output=output, precision="auto", max_failure_rate=0.5) == 0

    printed = capsys.readouterr()
    assert f"scenetags plan: --precision auto computes in {held}, like the rows in {output}\n" in printed.err
    [command] = commands(printed.out)
    assert cli.main([*command[1:], "--progress=off"]) == 0
    assert manifest(output)["precision"] == held
    capsys.readouterr()
    described = planned(run, capsys, output=output, precision="auto")
    assert (described["precision"], described["held"]) == (held, held)
    assert described["engine"] == ("litert" if held == "float32" else "openvino")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        pytest.param({"precision": "bfloat16"}, "rows computed in float32", marks=with_bfloat16),
        ({"threshold": 0.9}, "rows tagged with different thresholds"),
        ({"relative_to": "INPUT"}, "rows with absolute paths"),
        ({"tile": 32}, "rows made without --tile"),
    ],
)
def test_a_plan_is_refused_where_the_output_would_refuse_its_command(
    run: Run, folder: Path, exact: Path, capsys: pytest.CaptureFixture[str], flags: dict[str, str], reason: str
) -> None:
    named = {name: folder if value == "INPUT" else value for name, value in flags.items()}
    capsys.readouterr()

    assert run(output=exact, **named) == 2

    printed = capsys.readouterr()
    assert printed.err.startswith(f"scenetags plan: output {exact} holds {reason}")
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert run("--overwrite", output=exact, **named) == 0


def test_a_plan_is_refused_where_a_table_lies_elsewhere(
    run: Run, exact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (exact / "predictions").rename(tmp_path / "elsewhere")
    (exact / "predictions").symlink_to("../elsewhere")
    capsys.readouterr()

    assert run(output=exact) == 2

    assert capsys.readouterr().err.startswith(f"scenetags plan: {exact}/predictions is a link or on another disk")


def test_a_plan_is_refused_where_the_output_holds_two_rows_for_an_image(
    run: Run, exact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [file] = (exact / "predictions").iterdir()
    shutil.copy(file, file.with_name("copied.parquet"))
    capsys.readouterr()

    assert run(output=exact) == 2

    printed = capsys.readouterr()
    assert printed.err.startswith(f"scenetags plan: output {exact} holds two rows for ")
    assert printed.err.count("\n") == 1
    assert run("--overwrite", output=exact) == 0


def test_a_row_of_a_list_that_repeats_an_image_counts_once_as_in_a_run(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["path,site", "chips/0.jpg,1", "chips/0.jpg,2", "chips/../chips/0.jpg,3", "chips/1.jpg,4"]
    (tmp_path / "list.csv").write_text("\n".join(rows))

    assert run("--keep_columns=site", input=None, input_list=tmp_path / "list.csv", output=tmp_path / "out") == 0
    printed = capsys.readouterr().out
    [command] = commands(printed)
    assert cli.main([*command[1:], "--progress=off"]) == 0

    assert printed.startswith("2 images, ")
    assert capsys.readouterr().out.startswith("2 images: 2 tagged")
    assert [row["site"] for row in outputs.rows(tmp_path / "out")] == [1, 4]


def test_a_plan_for_an_output_that_cannot_be_read_is_for_an_empty_one(
    run: Run, exact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(preparation, "first_footer", refuse)

    assert run(output=exact) == 0

    assert f"scenetags plan: {exact} cannot be read, so the plan assumes that it is empty: " in capsys.readouterr().err


def test_a_precision_that_the_output_would_refuse_is_not_recommended_for_it() -> None:
    rates = Rate(200, 0.1, "n2-highcpu-16"), Rate(400, 0.05, "c3-highcpu-8")
    weighed = weigh("AMX matrix units", *rates, Changes(100, 0, 300, 0, 0, 0.01, 0.3), is_whole=True)
    caution = "  the output holds rows in float32: bfloat16 needs another --output, or --overwrite"
    assert caution in list(describe(weighed, "AMX matrix units", lacks_openvino=False, held="float32"))
    for held in ("bfloat16", ""):
        assert caution not in list(describe(weighed, "AMX matrix units", lacks_openvino=False, held=held))
