"""Windows without data, or under clouds, are neither tagged nor read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.output.run import EMPTY
from tests import outputs
from tests.pipelines.predict.predicting import Predict
from tests.pipelines.predict.tiled import TILED, paths
from tests.scene_files import samples, write_scene


def test_windows_without_data_are_neither_tagged_nor_read_again(
    run: Predict, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = samples(128, 192) + 1
    values[:, :, 70:] = 0
    write_scene(scenes / "a.tif", values, tile=64, nodata=0)
    out = tmp_path / "out"
    assert run(input=scenes / "a.tif", **TILED) == 0
    assert "6 images: 2 tagged, 0 failed, 4 empty, 0 skipped" in capsys.readouterr().out
    assert len(paths(out)) == 2
    assert len(paths(out, EMPTY)) == 4

    monkeypatch.setattr("pipelines.reading.parts.read_part", None)
    assert run(input=scenes / "a.tif", **TILED) == 0
    assert outputs.manifest(out)["skipped"] == 6
    assert outputs.manifest(out)["empty"] == 0


def test_the_borders_of_a_scene_that_names_no_value_for_no_data_are_left_out(
    run: Predict, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = samples(128, 192) + 1
    values[:, :, 70:] = 0
    write_scene(scenes / "a.tif", values, tile=64)
    assert run(input=scenes / "a.tif", **TILED, nodata=0) == 0
    assert "6 images: 2 tagged, 0 failed, 4 empty, 0 skipped" in capsys.readouterr().out
    assert run(input=scenes / "a.tif", **TILED) == 2
    assert "--edge=shift --nodata=0, not with " in capsys.readouterr().err

    run(input=scenes / "a.tif", **TILED, output=tmp_path / "without")
    assert len(paths(tmp_path / "without")) == 6


def test_windows_under_clouds_are_empty_and_tagged_once_the_mask_says_otherwise(
    run: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "x_3B_AnalyticMS.tif", samples(64, 192), tile=64)
    mask = np.ones((8, 64, 192), "uint8")
    mask[0, :, 10:128] = 0
    write_scene(tmp_path / "x_3B_udm2.tif", mask, tile=64)
    masked = {**TILED, "mask": "udm2:clear>=0.5", "output": (out := tmp_path / "out")}
    assert run(input=scene, **masked) == 0
    assert "3 images: 1 tagged, 0 failed, 2 empty, 0 skipped" in capsys.readouterr().out
    assert paths(out) == ["x_3B_AnalyticMS.tif#xywh=128,0,64,64"]
    assert run(input=scene, **masked) == 0
    assert outputs.manifest(out)["skipped"] == 3

    mask[0, :, 64:] = 1
    write_scene(tmp_path / "x_3B_udm2.tif", mask, tile=64, compress="lzw")
    assert run(input=scene, **masked) == 0
    assert len(paths(out)) == 2
    assert len(paths(out, EMPTY)) == 1
    write_scene(tmp_path / "x_3B_udm2.tif", np.ones_like(mask), tile=64)
    assert run(input=scene, **masked) == 0
    assert len(paths(out)) == 3
    assert not (out / EMPTY).exists(), "readers fail on a folder without files"
