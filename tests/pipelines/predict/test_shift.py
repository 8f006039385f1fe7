"""A run reports images that are unlike those that its model was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines import plan, report
from tests import outputs
from tests.bundles import IMAGE_SIZE, copy_with_reference
from tests.image_files import encode, picture
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict

IMAGES = 40


@pytest.fixture
def model(tmp_path: Path, bundle_path: str) -> Path:
    """A bundle that says what its training images look like."""
    return copy_with_reference(bundle_path, tmp_path / "model")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Folders of images that are like those of training, and of such that are not."""
    for name, divisor in (("alike", 1), ("dark", 4)):
        (tmp_path / name).mkdir()
        for seed in range(IMAGES):
            pixels = picture(IMAGE_SIZE, IMAGE_SIZE, seed=seed) // np.uint8(divisor)
            (tmp_path / name / f"{seed}.png").write_bytes(encode(pixels, "PNG"))
    return tmp_path


@on_both_runners
def test_each_row_says_how_strange_its_image_is_and_the_run_how_strange_all_are(
    run: Predict, folders: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mean = {}
    for name, code in (("alike", 0), ("dark", 3)):
        out = tmp_path / f"{name}_out"
        assert run("--fail_on_shift", input=folders / name, model=model, output=out) == code
        printed, reported = capsys.readouterr()
        found = outputs.manifest(out)["shift"]
        assert (found["verdict"], found["images"]) == ("unlike" if code else "alike", IMAGES)
        assert ("UNLIKE" in printed) == ("--fail_on_shift" in reported) == bool(code)
        novelty = [row["novelty"] for row in outputs.rows(out)]
        assert all(0 <= one <= 1 for one in novelty)
        mean[name] = np.mean(novelty)
    assert mean["alike"] == pytest.approx(0.5, abs=0.15)
    assert mean["dark"] > 0.9
    assert any("darker" in respect for respect in found["respects"])


def test_a_resumed_run_also_compares_what_was_tagged_before(
    run: Predict, folders: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = folders / "dark" / f"{IMAGES - 1}.png"
    withheld = last.rename(tmp_path / last.name)
    assert run(input=folders / "dark", model=model) == 0, "without the flag, it is reported and no more"
    withheld.rename(last)
    assert run("--fail_on_shift", input=folders / "dark", model=model) == 3
    assert outputs.manifest(tmp_path / "out")["shift"]["verdict"] == "unknown", "of its own single image"
    assert "UNLIKE" in capsys.readouterr().out


def test_rows_that_an_overwrite_has_replaced_do_not_count(
    run: Predict, folders: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(input=folders / "dark", model=model) == 0
    assert run("--overwrite", "--fail_on_shift", input=folders / "alike", model=model) == 0
    assert report.main([str(tmp_path / "out"), "--html", str(tmp_path / "page.html")]) == 0
    assert run("--fail_on_shift", input=folders / "alike", model=model) == 0, "which resumes the overwrite alone"
    assert capsys.readouterr().out.count("the images look like those that") == 3


@on_both_runners
def test_an_overwrite_with_unlike_images_keeps_the_old_rows(
    run: Predict, folders: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(input=folders / "dark", model=model) == 0
    old = outputs.rows(tmp_path / "out")
    capsys.readouterr()
    assert run("--overwrite", "--fail_on_shift", input=folders / "dark", model=model) == 3
    printed, reported = capsys.readouterr()
    [shadow] = tmp_path.glob("out/_overwrite-*")
    assert f"predictions: {shadow}/predictions" in printed
    assert f"the old rows stay, and the new ones are in {shadow}\n" in reported
    assert outputs.manifest(tmp_path / "out")["status"] == "kept_old"
    assert (outputs.rows(tmp_path / "out"), len(outputs.rows(shadow))) == (old, IMAGES)
    assert run("--overwrite", input=folders / "dark", model=model) == 0
    manifest = outputs.manifest(tmp_path / "out")
    assert (manifest["status"], manifest["skipped"]) == ("done", IMAGES), "it tags nothing again"


def test_images_that_were_mended_count_as_they_are_now(
    run: Predict, folders: Path, model: Path, tmp_path: Path
) -> None:
    assert run("--fail_on_shift", input=folders / "dark", model=model) == 3
    for image in sorted((folders / "alike").iterdir())[1:]:
        shutil.copy(image, folders / "dark")
    assert run("--fail_on_shift", input=folders / "dark", model=model) == 0
    assert outputs.manifest(tmp_path / "out")["skipped"] == 1


def test_an_overwrite_also_compares_what_it_resumes(
    run: Predict, folders: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(input=folders / "alike", model=model) == 0
    broken = folders / "dark" / "0.png"
    whole = broken.read_bytes()
    broken.write_bytes(b"broken")
    flags = "--overwrite", "--fail_on_shift", "--max_failure_rate=0"
    assert run(*flags, input=folders / "dark", model=model) == 3, "the old rows stay"
    assert report.main([str(tmp_path / "out"), "--html", str(tmp_path / "page.html")]) == 0
    assert "images look like" in capsys.readouterr().out, "the rows that wait do not count yet"
    broken.write_bytes(whole)
    assert run(*flags, input=folders / "dark", model=model) == 3
    manifest = outputs.manifest(tmp_path / "out")
    assert (manifest["status"], manifest["skipped"]) == ("kept_old", IMAGES - 1)
    assert (manifest["unlike"]["images"], manifest["shift"]["images"]) == (IMAGES, 1)
    assert "darker" in capsys.readouterr().err
    # One of its rows is taken over; the others are of images that are not listed again, and do not count.
    assert run(*flags, f"--input={broken}", input=folders / "alike", model=model) == 0
    assert (outputs.manifest(tmp_path / "out")["skipped"], len(outputs.rows(tmp_path / "out"))) == (1, IMAGES + 1)


def test_the_waves_of_a_run_are_compared_together(run: Predict, folders: Path, model: Path, tmp_path: Path) -> None:
    assert run(input=folders / "dark", model=model, checkpoint_every=7) == 0
    found = outputs.manifest(tmp_path / "out")["shift"]
    assert (found["verdict"], found["images"]) == ("unlike", IMAGES)


def test_a_bundle_without_statistics_tells_nothing(
    run: Predict, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--fail_on_shift", input=folders / "dark") == 0
    assert "--fail_on_shift: cannot tell whether the images look like" in capsys.readouterr().err
    assert outputs.manifest(tmp_path / "out")["shift"]["verdict"] == "unknown"
    assert "novelty" not in outputs.rows(tmp_path / "out")[0]


def test_a_plan_says_why_it_fails_or_cannot_tell(
    folders: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = ["--input", str(folders / "dark"), "--model", str(model), "--fail_on_shift"]
    assert plan.main(planned) == 3
    assert "--fail_on_shift: the images are UNLIKE" in capsys.readouterr().err
    assert plan.main([*planned, "--sample", "9"]) == 0
    assert "at least 30 are needed, and 9 were compared" in capsys.readouterr().err
