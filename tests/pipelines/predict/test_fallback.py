"""Where OpenVINO is broken or computes something else, a precision that was left open is float32, as a line says."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import plan, tag
from pipelines.inference import ahead, engines, openvino_engine, openvino_runtime, processor
from pipelines.inference.bundle import BundleError
from pipelines.inference.processor import bfloat16_units
from pipelines.output.footers import read_footer
from tests.outputs import manifest, rows_by_path
from tests.pipelines.predict.predicting import Predict, chip

if find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra", allow_module_level=True)
with_units = pytest.mark.skipif(not bfloat16_units(), reason="this processor has no units for bfloat16")

BROKEN = "engine openvino cannot be imported (libtbb.so.12: cannot open shared object file)"
DIFFERS = "engine openvino does not reproduce the golden probabilities"
FAULTS = {"import": BROKEN, "bfloat16": DIFFERS, "float32": DIFFERS}
"""What is wrong with OpenVINO, and how it is reported."""


def break_openvino(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put an OpenVINO that cannot be imported before the one that is installed."""
    (folder / "packages" / "openvino").mkdir(parents=True)
    raised = "raise ImportError('libtbb.so.12: cannot open shared object file')"
    (folder / "packages" / "openvino" / "__init__.py").write_text(raised)
    monkeypatch.syspath_prepend(folder / "packages")
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    anew = openvino_runtime.load_core.__wrapped__
    for module in (openvino_runtime, openvino_engine, processor):
        monkeypatch.setattr(module, "load_core", anew)


def spoil(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """Let OpenVINO compute something else in a precision."""
    check = engines._check_golden

    def refuse(bundle: Any, name: str, golden: Any, probabilities: Any, computed_in: str) -> None:
        check(bundle, name, golden, probabilities, computed_in)
        if (name, computed_in) == ("openvino", precision):
            raise BundleError(DIFFERS, "use --precision float32")

    monkeypatch.setattr(engines, "_check_golden", refuse)


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "flagged_units", lambda *_: "some units")


@pytest.fixture(params=["import", *(pytest.param(name, marks=with_units) for name in ("bfloat16", "float32"))])
def reason(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, units: None) -> str:
    """Break OpenVINO in one of several ways, and return how that is reported."""
    ahead._load.cache_clear()
    if request.param == "import":
        break_openvino(monkeypatch, tmp_path)
    else:
        spoil(monkeypatch, request.param)
    return FAULTS[request.param]


@pytest.mark.parametrize(
    ("reason", "flags"),
    [
        ("import", {}),
        # Noticed early or late, it is the launching process that decides; and an overwrite decides as any other run.
        ("import", {"processes": 2}),
        ("import", {"overwrite": True}),
        pytest.param("bfloat16", {}, marks=with_units),
        pytest.param("bfloat16", {"processes": 2}, marks=with_units),
        pytest.param("float32", {}, marks=with_units),
    ],
    indirect=["reason"],
    ids=str,
)
def test_a_run_that_leaves_its_precision_open_falls_back_to_float32_and_says_why(
    run: Predict, chips: Path, tmp_path: Path, reason: str, capsys: pytest.CaptureFixture[str], flags: dict[str, Any]
) -> None:
    assert run(output=tmp_path / "exact") == 0
    capsys.readouterr()

    assert run(precision="auto", **flags) == 0

    printed = capsys.readouterr().err
    assert f"scenetags predict: --precision auto computes in float32, since {reason}\n" in printed
    assert printed.count(reason) == 1
    described = manifest(tmp_path / "out")
    assert (described["engine"], described["precision"]) == ("litert", "float32")
    footers = [read_footer(pq.read_schema(path)) for path in (tmp_path / "out").glob("predictions/*.parquet")]
    assert {(footer.engine, footer.precision) for footer in footers if footer} == {("litert", "float32")}
    assert rows_by_path(tmp_path / "out") == rows_by_path(tmp_path / "exact")


def test_a_fallback_is_not_tried_where_the_rows_are_in_float32(
    run: Predict, chips: Path, tmp_path: Path, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    (chips / "new.jpg").write_bytes(chip(20))
    capsys.readouterr()

    assert run(precision="auto") == 0

    printed = capsys.readouterr().err
    assert f"--precision auto computes in float32, like the rows in {tmp_path}/out\n" in printed
    assert reason not in printed


@with_units
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_rows_in_bfloat16_are_not_added_to_in_float32(
    run: Predict,
    chips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
    precision: str,
) -> None:
    assert run(precision="bfloat16") == 0
    before = rows_by_path(tmp_path / "out")
    (chips / "new.jpg").write_bytes(chip(20))
    ahead._load.cache_clear()
    if fault == "import":
        break_openvino(monkeypatch, tmp_path)
    else:
        spoil(monkeypatch, fault)
    capsys.readouterr()

    assert run(precision=precision) == 2

    printed = capsys.readouterr().err
    remedy = "install what it lacks, or run pip install --force-reinstall openvino"
    if fault != "import":
        assert f"output {tmp_path}/out holds rows computed in bfloat16, but {DIFFERS}" in printed
        remedy = "choose another --output, or replace the rows with --overwrite --precision float32"
    assert f"{FAULTS[fault]}; {remedy}\n" in printed
    assert printed.count("\n") == 1
    assert rows_by_path(tmp_path / "out") == before
    if fault != "import":
        assert run("--overwrite", precision="float32") == 0


@with_units
def test_an_engine_that_cannot_add_to_rows_in_bfloat16_is_to_be_exchanged(
    run: Predict, chips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(precision="bfloat16") == 0
    capsys.readouterr()

    assert run(precision="auto", engine="litert") == 2

    assert capsys.readouterr().err == (
        "scenetags predict: engine litert does not compute in bfloat16; use --engine openvino\n"
    )


@pytest.mark.usefixtures("units")
def test_where_openvino_was_asked_for_there_is_no_other_engine_to_fall_back_to(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ahead._load.cache_clear()
    break_openvino(monkeypatch, tmp_path)

    assert run(precision="auto", engine="openvino") == 2

    printed = capsys.readouterr().err
    assert f"scenetags predict: {BROKEN}; install what it lacks" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_plan_and_a_look_at_an_image_fall_back_as_well(
    chips: Path, bundle_path: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = f"--precision auto computes in float32, since {reason}\n"
    assert plan.main(["--input", str(chips), "--model", bundle_path, "--precision=auto"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count(reason) == 1
    assert f"scenetags plan: {told}" in printed.err
    assert "in bfloat16, with" not in printed.out

    assert tag.main([str(chips / "0.jpg"), "--model", bundle_path, "--precision=auto"]) == 0
    assert capsys.readouterr().err == f"scenetags tag: {told}"
