"""Images that are known by their paths below a folder, wherever that folder is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pipelines import storage
from tests import outputs
from tests.conftest import Bucket
from tests.pipelines.predict.predicting import CHIP, Predict, chip
from tests.scene_files import samples, write_scene

SHOWN = {"bands": "3,2,1", "stretch": "0:2500", "tile": 64}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Write an archive of a chip, a scene of two windows and a broken image."""
    folder = tmp_path / "mounted" / "archive"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "chip.jpg").write_bytes(CHIP)
    (folder / "broken.jpg").write_bytes(CHIP[:100])
    write_scene(folder / "scene.tif", samples(64, 128), tile=64)
    return folder


def names(output: Path) -> list[str]:
    return [row["path"] for table in ("predictions", "failures") for row in outputs.rows(output, table)]


def test_an_archive_that_has_moved_is_not_tagged_again(run: Predict, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    known = ["deep/chip.jpg", "scene.tif#xywh=0,0,64,64", "scene.tif#xywh=64,0,64,64", "broken.jpg"]
    assert run(input=archive, relative_to=archive.parent / "archive", max_failure_rate=1, **SHOWN) == 0
    assert names(out) == known
    assert {row["scene"] for row in outputs.rows(out)} == {None, "scene.tif"}

    moved = tmp_path / "elsewhere"
    archive.rename(moved)
    assert run(input=moved, relative_to=moved, max_failure_rate=1, **SHOWN) == 0
    assert names(out) == known
    assert (outputs.manifest(out)["skipped"], outputs.manifest(out)["failures"]) == (3, 1)

    write_scene(moved / "scene.tif", samples(64, 64, seed=1), tile=64)
    (moved / "deep" / "chip.jpg").write_bytes(chip(2))
    assert run(input=moved, relative_to=moved, max_failure_rate=1, **SHOWN) == 0
    left = ["deep/chip.jpg", "scene.tif#xywh=0,0,64,64", "broken.jpg"]
    assert names(out) == left, "replaced, and without the window that is gone"


@pytest.mark.parametrize("root", ["/", "//", "/tmp/..", "file:///"])
def test_all_is_below_the_root(run: Predict, archive: Path, tmp_path: Path, root: str) -> None:
    assert run(input=f"{archive}/deep", relative_to=root) == 0
    assert names(tmp_path / "out") == [f"{archive}/deep/chip.jpg".removeprefix("/")]


def test_a_scene_of_files_in_several_folders_is_not_tagged_again(run: Predict, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    for number, colour in enumerate(("red", "green", "blue")):
        (archive / colour).mkdir(parents=True)
        write_scene(archive / colour / "1.tif", samples(64, 64, 1, seed=number), tile=64)
    assets = {colour: {"href": f"../{colour}/1.tif"} for colour in ("red", "green", "blue")}
    (archive / "red" / "a.json").write_text(json.dumps({"type": "Feature", "id": "a", "assets": assets}))
    said = {"asset": "red,green,blue", "tile": 64, "stretch": "0:2500"}
    assert run(input=archive / "red" / "a.json", relative_to=archive, **said) == 0
    archive = archive.rename(tmp_path / "elsewhere")
    assert run(input=archive / "red" / "a.json", relative_to=archive, **said) == 0
    assert outputs.manifest(out)["skipped"] == 1
    assert names(out) == ["red/1.tif+../green/1.tif+../blue/1.tif#xywh=0,0,64,64"]

    further = {"input": archive / "red" / "a.json", "relative_to": archive / "red", "output": tmp_path / "further"}
    assert run("--max_failure_rate=1", **further, **said) == 0
    assert list(outputs.failed(tmp_path / "further").values()) == [f"it is not below --relative_to {archive}/red"]


def test_paths_in_a_bucket_may_be_relative_too(run: Predict, bucket: Bucket, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("a/1.jpg", "/2.jpg"):
        storage.write(f"{bucket.path}/{name}", CHIP)
    assert run(input=f"{bucket.path}/**/*.jpg", relative_to=bucket.path) == 0
    assert sorted(names(out)) == ["a/1.jpg", f"{bucket.path}//2.jpg"], "the second would be a file of this machine"


def test_an_overwrite_drops_what_is_not_listed_any_more(run: Predict, tmp_path: Path) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.jpg").write_bytes(chip(number))
    assert run(relative_to=folder) == 0
    (folder / "1.jpg").unlink()
    assert run(relative_to=folder, overwrite=True) == 0
    assert names(tmp_path / "out") == ["2.jpg"]


def test_relative_and_absolute_paths_do_not_mix(
    run: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(CHIP)
    assert run(relative_to=folder) == 0
    assert run() == 2
    assert "rows with relative paths, and those of this run are absolute" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "out")
    assert run() == 0
    assert run(relative_to=folder) == 2
    assert "rows with absolute paths, and those of this run are relative" in capsys.readouterr().err


def test_what_is_not_below_the_folder_is_a_failure(run: Predict, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{archive}/deep/chip.jpg\n{archive}/broken.jpg\n")
    assert run(input=None, input_list=tmp_path / "list.txt", relative_to=archive / "deep", max_failure_rate=1) == 0
    assert outputs.tagged(tmp_path / "out") == ["chip.jpg"]
    assert outputs.failed(tmp_path / "out") == {"broken.jpg": f"it is not below --relative_to {archive}/deep"}


def test_a_file_named_like_a_member_of_an_archive_fails_for_its_name(run: Predict, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.tar::m.jpg").write_bytes(CHIP)
    assert run(input=tmp_path / "d", relative_to=tmp_path / "d", max_failure_rate=1) == 0
    [reason] = outputs.failed(tmp_path / "out").values()
    assert (
        reason == "its name looks like a member of an archive (::), which --relative_to cannot express; rename the file"
    )


def test_the_archive_itself_is_no_folder_that_members_are_below(
    run: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = f"{tmp_path}/x.tar"
    assert run(input=f"{archive}::*.jpg", relative_to=archive) == 2
    told = f"--input {archive}::*.jpg is not below --relative_to {archive}; name the folder that the archive is in\n"
    assert capsys.readouterr().err.endswith(told)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        *((pattern, True) for pattern in ("data", "data/a.jpg", "data/*/x", "*/data/x.jpg", "d*", "./data/{a,b}.jpg")),
        *((pattern, False) for pattern in ("dat", "data2", "data2/*.jpg", "other/*", "gs://bucket/data")),
    ],
)
def test_an_input_elsewhere_is_refused_before_anything_is_listed(
    run: Predict, pattern: str, fits: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "here").mkdir()
    os.chdir(tmp_path)
    assert run(input=pattern, relative_to="data") == 2
    refused = f"--input {pattern} is not below --relative_to {tmp_path}/data; write both paths the same way"
    assert (refused in capsys.readouterr().err) != fits
