"""Figures that are measured on images which the model has learnt flatter, and say so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from model import evaluate
from model.data.recognition import find_learnt
from pipelines import predict, storage
from tests.conftest import Bucket
from tests.model.conftest import CHIPS, Trained


def test_images_that_the_model_has_learnt_are_counted(
    trained: Trained, training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(trained.bundle.path, bundle)
    flags = ["--input", str(training_chips / "jpg"), "--model", str(bundle), "--output", str(tmp_path / "out")]
    assert predict.main([*flags, "--progress", "off"]) == 0
    command = [str(tmp_path / "out"), "--labels", str(training_chips / "labels.csv")]
    capsys.readouterr()

    assert evaluate.main([*command, "--json", str(tmp_path / "scores.json")]) == 0
    learnt = CHIPS - len(trained.validation.rows)
    told = f"{learnt} images that the model has learnt from, of {CHIPS} compared: the figures flatter: "
    assert told in capsys.readouterr().out
    first = json.loads((tmp_path / "scores.json").read_text())["findings"][0]
    assert (first["what"], first["count"]) == (told.removeprefix(f"{learnt} ").removesuffix(": "), learnt)

    shutil.rmtree(bundle)
    assert evaluate.main(command) == 0, "without the bundle, nothing is known"
    assert "learnt" not in capsys.readouterr().out


def test_learnt_images_are_found_where_they_are_if_rows_have_relative_paths(
    trained: Trained, training_chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "chips", str(tmp_path / "out")
    shutil.copytree(training_chips / "jpg", folder / "jpg")
    flags = ["--input", str(folder), "--relative_to", str(folder), "--model", trained.bundle.path, "--output", output]
    assert predict.main([*flags, "--progress", "off"]) == 0
    command = [output, "--labels", str(training_chips / "labels.csv")]
    capsys.readouterr()
    assert evaluate.main(command) == 0
    assert f"images that the model has learnt from, of {CHIPS} compared" in capsys.readouterr().out


def test_only_images_that_can_be_read_and_the_bundle_that_is_meant_are_compared(
    trained: Trained, training_chips: Path, tmp_path: Path, bucket: Bucket
) -> None:
    one, *others = sorted(map(str, (training_chips / "jpg").iterdir()))
    bundle = trained.bundle
    elsewhere = f"{bucket.path}/elsewhere.jpg"
    storage.write(elsewhere, Path(one).read_bytes())
    strange = (f"{one}#xywh=0,0,8,8", str(tmp_path), "/dev/zero", str(tmp_path / "gone.jpg"), f"{bucket.path}/gone.jpg")
    found = find_learnt(bundle.path, bundle.digest, (one, elsewhere, *others, *strange))
    assert found is not None
    assert f", of {CHIPS + 1} compared" in found.what
    assert find_learnt(bundle.path, bundle.digest, strange) is None
    assert find_learnt(bundle.path, "0" * 64, others) is None
    assert find_learnt("", bundle.digest, others) is None
