"""Runs in bfloat16, killed and resumed, here and on other machines: an output holds rows of one precision."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pipelines.inference import ahead, openvino_engine, openvino_runtime, precision, processor
from pipelines.inference.bundle import load_bundle
from pipelines.inference.processor import bfloat16_units
from pipelines.runners import local
from tests.outputs import manifest, rows, rows_by_path
from tests.pipelines.predict.predicting import Predict, chip

if find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra", allow_module_level=True)
with_units = pytest.mark.skipif(not bfloat16_units(), reason="this processor has no units for bfloat16")

_KILLED_IN_THE_SECOND_WAVE = """if True:
    import os, signal, sys
    from pipelines import predict
    from pipelines.reading.source import ImageSource
    fetch = ImageSource.fetch

    def killed(source, ref, waits=True):
        if ref.path.endswith("6.jpg"):
            os.kill(os.getpid(), signal.SIGKILL)
        return fetch(source, ref, waits)

    ImageSource.fetch = killed
    predict.main(sys.argv[1:])
"""


@pytest.fixture(params=["Linux", "OpenVINO"])
def without_units(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Take the units from this processor, by the word of one of the two that know of them."""
    capabilities = ["FP32", *["BF16"] * (request.param == "Linux")]
    monkeypatch.setattr(openvino_runtime.load_core(), "get_property", lambda *_: capabilities, raising=False)
    monkeypatch.setattr(processor, "flagged_units", lambda *_: "some units" * (request.param == "OpenVINO"))
    ahead._load.cache_clear()


@pytest.fixture
def nothing_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("the images are listed")

    monkeypatch.setattr(local, "list_images", refuse)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, bundle_path: str) -> Path:
    """Kill a run in bfloat16 that has committed one wave, and return the folder of its images and its output."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "chips").mkdir()
    for seed in range(10):
        (folder / "chips" / f"{seed}.jpg").write_bytes(chip(seed))
    flags = [f"--input={folder}/chips", f"--output={folder}/out", f"--model={bundle_path}", "--checkpoint_every=4"]
    command = [sys.executable, "-c", _KILLED_IN_THE_SECOND_WAVE, *flags, "--precision=bfloat16", "--progress=off"]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    assert manifest(folder / "out")["status"] == "running"
    return folder


@pytest.fixture
def resume(run: Predict, killed: Path, tmp_path: Path) -> Callable[..., int]:
    """Run the command on the images of the killed run into a copy of its output."""
    shutil.copytree(killed / "out", tmp_path / "out")
    return lambda precision: run(input=killed / "chips", precision=precision)


def files(output: Path) -> dict[str, bytes]:
    """Read all files of the tables."""
    return {str(path): path.read_bytes() for path in output.glob("*/*.parquet")}


@with_units
def test_a_killed_run_in_bfloat16_resumes_with_the_rows_of_an_undisturbed_one(
    run: Predict, resume: Predict, killed: Path, tmp_path: Path
) -> None:
    assert len(rows(tmp_path / "out")) == 4
    assert run(input=killed / "chips", precision="bfloat16", output=tmp_path / "undisturbed") == 0

    assert resume("bfloat16") == 0

    assert [manifest(tmp_path / "out")[name] for name in ("skipped", "predictions", "precision")] == [4, 6, "bfloat16"]
    assert rows_by_path(tmp_path / "out") == rows_by_path(tmp_path / "undisturbed")


@with_units
@pytest.mark.usefixtures("nothing_listed")
def test_a_killed_run_in_bfloat16_does_not_resume_in_float32(
    resume: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(tmp_path / "out")
    assert resume("float32") == 2

    printed = capsys.readouterr().err
    assert "rows computed in bfloat16, and those of this run are in float32; use --precision bfloat16, or" in printed
    assert printed.count("\n") == 1
    assert files(tmp_path / "out") == before


@with_units
@pytest.mark.usefixtures("without_units", "nothing_listed")
@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_a_killed_run_in_bfloat16_does_not_resume_on_a_processor_without_units(
    resume: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    before = files(tmp_path / "out")
    assert resume(precision) == 2

    printed = capsys.readouterr().err
    assert "holds rows computed in bfloat16, for which this processor has no units (" in printed
    assert "; resume on a machine that has them, choose another --output, or replace the rows with" in printed
    assert printed.count("\n") == 1
    assert files(tmp_path / "out") == before


@pytest.mark.usefixtures("without_units", "nothing_listed")
def test_a_run_in_bfloat16_does_not_begin_on_a_processor_without_units(
    run: Predict, chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(precision="bfloat16") == 2

    printed = capsys.readouterr().err
    assert "this processor has no units for bfloat16" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("without_units")
def test_a_precision_that_is_left_open_is_float32_on_a_processor_without_units(
    run: Predict, chips: Path, tmp_path: Path
) -> None:
    assert run(precision="auto") == 0
    assert manifest(tmp_path / "out")["precision"] == "float32"


def test_openvino_is_not_loaded_by_a_run_in_float32_that_did_not_leave_it_open(
    run: Predict, chips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise AssertionError("OpenVINO is loaded")

    for module in (openvino_runtime, openvino_engine, processor):
        monkeypatch.setattr(module, "load_core", refuse)
    assert run() == 0


def test_a_precision_that_is_left_open_is_that_of_the_rows_in_the_output(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    (chips / "new.jpg").write_bytes(chip(20))
    monkeypatch.setattr(precision, "bfloat16_units", lambda: "some units")
    capsys.readouterr()

    assert run(precision="auto") == 0

    described = manifest(tmp_path / "out")
    assert [described[name] for name in ("skipped", "predictions", "precision")] == [10, 1, "float32"]
    assert f"--precision auto computes in float32, like the rows in {tmp_path}/out\n" in capsys.readouterr().err


def test_a_precision_that_is_left_open_says_what_bfloat16_lacks(
    run: Predict, chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "bfloat16_units", lambda: "some units")
    monkeypatch.setattr(precision, "_is_openvino_installed", lambda: False)

    assert run(precision="auto") == 0

    assert manifest(tmp_path / "out")["precision"] == "float32"
    told = "--precision auto computes in float32; bfloat16 needs OpenVINO: run pip install 'scenetags[openvino]'\n"
    assert told in capsys.readouterr().err


@with_units
def test_rows_in_bfloat16_are_near(run: Predict, chips: Path, tmp_path: Path, bundle_path: str) -> None:
    assert run(output=tmp_path / "exact") == 0
    assert run(precision="bfloat16") == 0

    assert (manifest(tmp_path / "out")["engine"], manifest(tmp_path / "out")["precision"]) == ("openvino", "bfloat16")
    labels = load_bundle(bundle_path).labels
    exact, rounded = (
        [[row[f"p_{label}"] for label in labels] for row in rows(tmp_path / name)] for name in ("exact", "out")
    )
    assert 1e-5 < np.abs(np.subtract(exact, rounded)).max() < 0.05
