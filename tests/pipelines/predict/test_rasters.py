"""Chips of 16 bits, tagged as the user or the bundle says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines import tag
from pipelines.images.rendering import Rendering
from pipelines.inference.bundle import Description, load_bundle, seal_bundle
from tests import ROOT
from tests import image_files as files
from tests.outputs import failed, manifest, rows
from tests.pipelines.predict.predicting import Predict, without

PLANET = ROOT.parent / "shared" / "data" / "planet"


@pytest.fixture
def rasters(tmp_path: Path) -> Path:
    """Write the same picture as 8-bit RGB and as 16 bits of which 255 become a level, blue first."""
    folder = tmp_path / "rasters"
    folder.mkdir()
    levels = files.picture()
    deep = np.dstack([levels[..., ::-1], levels[..., :1]]).astype(np.uint16) * 10
    (folder / "deep.tif").write_bytes(files.tiff(deep, files.RGB))
    (folder / "plain.png").write_bytes(files.encode(levels, "png"))
    return folder


def test_a_raster_is_tagged_like_the_picture_that_it_is_shown_as(run: Predict, rasters: Path, tmp_path: Path) -> None:
    assert run("--max_failure_rate=1", input=rasters) == 0
    assert list(failed(tmp_path / "out")) == ["deep.tif"]

    assert run("--overwrite", input=rasters, bands="3,2,1", stretch="0:2550") == 0
    deep, plain = rows(tmp_path / "out")
    aside = "path", "source", "repairs", "fingerprint"
    assert without(deep, *aside) == without(plain, *aside)
    assert deep["repairs"] == ["bands_321", "extra_band_dropped", "stretched"]
    assert plain["repairs"] == []


def test_rows_of_rasters_shown_otherwise_are_not_mixed_into_one_output(
    run: Predict, rasters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(input=rasters, bands="3,2,1", stretch="0:2550") == 0
    assert run(input=rasters, bands="3,2,1", stretch="0:2550") == 0
    assert manifest(tmp_path / "out")["skipped"] == 2
    capsys.readouterr()

    assert run(input=rasters, bands="3,2,1", stretch="0:3000") == 2
    assert "holds rows made with different --bands, --stretch or --product; choose another" in capsys.readouterr().err


def test_rasters_that_failed_are_tagged_with_the_flags_that_the_reason_names(
    run: Predict, rasters: Path, tmp_path: Path
) -> None:
    (rasters / "plain.png").unlink()
    assert run(input=rasters) == 3
    [reason] = failed(tmp_path / "out").values()
    assert "--stretch" in reason

    assert run(input=rasters, bands="3,2,1", stretch="0:2550") == 0
    assert failed(tmp_path / "out") == {}
    assert len(rows(tmp_path / "out")) == 1


def test_a_bundle_says_how_its_rasters_were_shown_and_a_flag_says_otherwise(
    run: Predict, rasters: Path, tmp_path: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_path, folder)
    known = load_bundle(bundle_path)
    fields = ("name", "labels", "thresholds", "image_size", "resize_filter", "training", "metrics", "versions")
    rendering = Rendering((3, 2, 1), ((0, 2550),) * 3)
    seal_bundle(folder, Description(**{name: getattr(known, name) for name in fields}, rendering=rendering))

    assert run(input=rasters, model=folder) == 0
    deep, plain = rows(tmp_path / "out")
    assert deep["p_green"] == plain["p_green"]
    assert manifest(tmp_path / "out")["rendering"] == {"bands": [3, 2, 1], "stretch": [[0, 2550]] * 3}

    assert capsys.readouterr().err == ""
    # What is not said anew is as before.
    assert run("--overwrite", input=rasters, model=folder, bands="1,2,3") == 0
    assert rows(tmp_path / "out")[0]["repairs"] == ["extra_band_dropped", "stretched"]
    assert "the model was trained on rasters shown with --bands=3,2,1" in capsys.readouterr().err


def test_one_raster_is_tagged_as_well(rasters: Path, bundle_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = [f"{rasters}/deep.tif", f"--model={bundle_path}"]
    assert tag.main(command) == 1
    assert "give --bands and --stretch LOW:HIGH, or --product" in capsys.readouterr().err
    assert tag.main([*command, "--bands=3,2,1", "--stretch=0:2550"]) == 0


def test_the_analytic_chips_of_the_reference_set_look_like_its_jpegs() -> None:
    if not PLANET.is_dir():
        pytest.skip("needs the real chips in ../shared/data")
    from pipelines.images import decode
    from pipelines.images.rendering import rendering_of

    errors = {}
    # The others are hazy or cloudy, and the provider has stretched those in other ways.
    for number in (1, 2, 10, 11):
        shown = decode((PLANET / f"tif/train_{number}.tif").read_bytes(), rendering=rendering_of("planet-analytic"))
        jpeg = decode((PLANET / f"jpg/train_{number}.jpg").read_bytes())
        errors[number] = float(np.abs(shown.pixels.astype(int) - jpeg.pixels).mean())
    assert max(errors.values()) < 5, errors
