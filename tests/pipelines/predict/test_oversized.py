"""Images far larger than those that the model was trained on are not shrunk to what it takes without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import plan, tag
from pipelines.inference.bundle import TRAINED_SIDE, load_bundle
from pipelines.inference.scale import is_oversized
from pipelines.output.manifest import accounts_of
from tests import outputs
from tests.bundles import IMAGE_SIZE, copy_as
from tests.image_files import encode, picture
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict
from tests.scene_files import samples, write_scene

SHOWN = {"bands": "3,2,1", "stretch": "0:2500"}
SIDE = 50
CAUTION = (
    "caution: 2 images are at least 4 times as wide and high as the training images (50 pixels), and shrunk as a "
    "whole; to tag windows of scenes, add --tile 50\n"
)


@pytest.fixture
def model(tmp_path: Path, bundle_path: str) -> Path:
    """A bundle that says how large its training images were."""
    return copy_as(bundle_path, tmp_path / "model", training={TRAINED_SIDE: SIDE})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two scenes, of which one is narrow, a large picture and a chip."""
    folder = tmp_path / "images"
    folder.mkdir()
    write_scene(folder / "a.tif", samples(200, 210))
    write_scene(folder / "narrow.tif", samples(190, 400))
    (folder / "large.png").write_bytes(encode(picture(201, 200), "png"))
    (folder / "chip.png").write_bytes(encode(picture(64, 64), "png"))
    return folder


@on_both_runners
def test_a_run_says_how_many_it_has_tagged_as_a_whole(
    run: Predict, images: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(input=images, model=model, **SHOWN) == 0
    assert CAUTION in capsys.readouterr().out
    assert outputs.manifest(tmp_path / "out")["oversized"] == 2

    assert run(input=images, model=model, output=tmp_path / "tiled", **SHOWN, tile=50) == 0
    told = "and shrunk as a whole; --tile cuts TIFF and JPEG 2000 files only\n"
    assert told in capsys.readouterr().out, "of the picture, which no --tile cuts"
    assert tag.main([str(images / "large.png"), f"--model={model}", "--tile=50"]) == 0
    assert told in capsys.readouterr().out
    (images / "large.png").unlink()
    assert run(input=images, model=model, output=tmp_path / "windows", **SHOWN, tile=199) == 0
    assert "caution" not in capsys.readouterr().out


def test_windows_that_are_too_large_are_counted_too(
    run: Predict, images: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(input=images / "a.tif", model=model, **SHOWN, tile=200) == 0
    told = capsys.readouterr().out
    assert "caution: 2 images are at least 4 times" in told
    assert "as a whole; use --tile 50\n" in told
    assert outputs.manifest(tmp_path / "out")["oversized"] == 2


def test_plan_and_tag_say_it_before_a_run(
    images: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [f"--{name}={value}" for name, value in SHOWN.items()]
    assert plan.main([f"--input={images}", f"--model={model}", *shown]) == 0
    assert f"  caution   {CAUTION.removeprefix('caution: ')}" in capsys.readouterr().out
    assert plan.main([f"--input={images}", f"--model={model}", *shown, "--json=-"]) == 0
    assert json.loads(capsys.readouterr().out)["sampled"]["cautions"] == [CAUTION[len("caution: ") : -1]]

    assert tag.main([str(images / "a.tif"), str(images / "chip.png"), f"--model={model}", *shown]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "caution" in line]
    assert line.startswith(
        "  caution: at least 4 times as wide and high as the training images (50 pixels), and shrunk"
    )


@pytest.mark.parametrize("training", [{}, {TRAINED_SIDE: 0}, {TRAINED_SIDE: "50"}, {TRAINED_SIDE: True}])
def test_without_their_size_images_are_compared_with_what_the_model_takes(
    training: dict[str, Any], bundle_path: str, tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copy_as(bundle_path, tmp_path / "model", training=training)
    large = 4 * IMAGE_SIZE
    assert is_oversized(large, large, load_bundle(str(model)))
    assert not is_oversized(large - 1, 10 * large, load_bundle(str(model)))

    assert tag.main([str(images / "large.png"), f"--model={model}"]) == 0
    assert (
        f"as what the model takes ({IMAGE_SIZE} pixels), and shrunk as a whole; to tag windows of scenes, add --tile "
        "with the size of the training images\n"
    ) in capsys.readouterr().out


def test_a_manifest_that_counts_no_such_images_has_none() -> None:
    described: dict[str, Any] = {"inputs": 1, "predictions": 1, "failures": 0, "skipped": 0}
    described |= {name: {} for name in ("tags", "repairs", "errors", "passed_over")}
    assert accounts_of(described).oversized == 0
