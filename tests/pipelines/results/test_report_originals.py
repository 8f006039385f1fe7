"""The images of a report are fetched from where they are, repaired, within a budget; those that are gone are named."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.results.report import thumbnails
from pipelines.results.report.page import describe, link_to
from tests import image_files
from tests.conftest import Bucket
from tests.pipelines.results.report_outputs import (
    described,
    footer,
    look,
    make,
    prediction,
    write_chips,
    write_output,
)
from tests.scene_files import write_scene, write_vrt


def test_thumbnails_have_the_repaired_colours_of_files_members_and_windows(tmp_path: Path) -> None:
    rgb = np.zeros((32, 32, 3), np.uint8) + np.array([200, 120, 40], np.uint8)
    data = image_files.unmarked_rgba_jpeg(rgb, quality=95)
    (tmp_path / "a b#?.jpg").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("in/a.jpg", data)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("b.jpg")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    scene = np.zeros((300, 300, 3), np.uint8)
    scene[:256, 256:] = (10, 20, 200)
    Image.fromarray(scene).save(tmp_path / "scene.tif")
    (tmp_path / "changed.jpg").write_bytes(data)
    names = [
        "a b#?.jpg",
        "x.zip::in/a.jpg",
        "x.tar.gz::b.jpg",
        "scene.tif#xywh=256,0,256,256",
        "changed.jpg",
        "gone.jpg",
    ]
    grid = {"tile": 256, "stride": 256, "min_valid": 0.0, "edge": "pad"}
    rows = [prediction(f"{tmp_path}/{name}", [0.5] * 4, fingerprint="") for name in names]
    rows[4]["fingerprint"] = "1-1"
    write_output(tmp_path / "out", rows, metadata=footer(grid=grid))

    made = look(tmp_path / "out", images=10).thumbnails

    shown = [made[f"{tmp_path}/{name}"] for name in names]
    assert [one.problem for one in shown] == [""] * 4 + [
        "the original has changed since it was tagged",
        "the original is gone",
    ]
    pixels = [np.asarray(Image.open(io.BytesIO(one.picture)))[2:20, 2:20].mean(axis=(0, 1)) for one in shown[:5]]
    assert np.abs(pixels - np.array([[200, 120, 40]] * 3 + [[10, 20, 200], [200, 120, 40]])).max() < 6


def test_paths_that_lead_nowhere_are_named_and_keep_no_page_from_being_made(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    paths = [
        "gs:///x.tar::a.jpg",
        f"{tmp_path}/x.zip::a.jpg",
        f"{tmp_path}#xywh=0,0,9,9",
        "//odd\\udcff.jpg",
        "\0",
    ]
    write_output(tmp_path / "out", [prediction(path, [0.5] * 4) for path in paths if path != "\0"])

    made = thumbnails.make_thumbnails(dict.fromkeys(paths, ""), look(tmp_path / "out").footer)

    assert list(made) != []
    assert all(made[path].problem and not made[path].picture for path in paths)
    assert make(tmp_path / "out", tmp_path / "x.html") == 0


def test_originals_of_relative_paths_are_found_where_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [path] = write_chips(tmp_path / "old", 1)
    row = prediction(path, [0.9] * 4) | {"path": "chip_0.jpg"}
    write_output(tmp_path / "out", [row], metadata=footer(relative=True))
    monkeypatch.chdir(tmp_path / "old")

    problem = look(tmp_path / "out", images=1).thumbnails["chip_0.jpg"].problem
    assert problem == "its path is relative to a folder that no run names: give --relative_to"
    manifest = tmp_path / "out" / "runs" / "a.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"options": {"relative_to": f"{tmp_path}/old"}}))
    assert look(tmp_path / "out", images=1).thumbnails["chip_0.jpg"].picture
    (tmp_path / "old").rename(tmp_path / "new")
    gone = look(tmp_path / "out", images=1)
    assert gone.thumbnails["chip_0.jpg"].problem == "the original is gone"
    assert describe(gone)[-1] == f"if the originals are not below {tmp_path}/old any more, give --relative_to"
    assert make(tmp_path / "out", tmp_path / "x.html", "--relative_to", f"{tmp_path}/new/") == 0
    [image] = described(tmp_path / "x.html")["images"]
    assert (image["path"], image["link"], image["problem"]) == ("chip_0.jpg", f"file://{tmp_path}/new/chip_0.jpg", "")

    write_output(tmp_path / "absolute", [])
    assert make(tmp_path / "absolute", tmp_path / "x.html", "--relative_to", "/a") == 2
    assert "has rows with absolute paths; omit --relative_to" in capsys.readouterr().err


def test_windows_of_scenes_of_several_files_have_thumbnails(tmp_path: Path) -> None:
    for name, value in (("red+1.tif", 200), ("green.tif", 120), ("blue.tif", 40)):
        write_scene(tmp_path / name, np.full((1, 64, 64), value, np.uint8), tile=64)
    write_vrt(tmp_path / "all.vrt", ["red+1.tif", "green.tif", "blue.tif"])
    (tmp_path / "deep").mkdir()
    write_vrt(tmp_path / "deep" / "far.vrt", [f"{tmp_path}/green.tif"] * 3)
    names = ["red+1.tif+green.tif+blue.tif", "all.vrt", "red+1.tif+gone.tif+blue.tif", "deep/far.vrt"]
    paths = [f"{tmp_path}/{name}#xywh=0,0,64,64" for name in names]
    rows = [prediction(path, [0.5] * 4, fingerprint="") for path in paths]
    shown = {"bands": [1, 2, 3], "stretch": [[0, 255]] * 3}
    grid = {"tile": 64, "stride": 64, "min_valid": 0.0, "edge": "pad"}
    write_output(tmp_path / "out", rows, metadata=footer(grid=grid, rendering=shown))

    made = look(tmp_path / "out", images=10).thumbnails

    for path in paths[:2]:
        pixels = np.asarray(Image.open(io.BytesIO(made[path].picture)))
        assert np.abs(pixels.mean(axis=(0, 1)) - (200, 120, 40)).max() < 3
    assert made[paths[2]].problem == "the original is gone"
    assert "which lies neither next to it nor below it" in made[paths[3]].problem
    assert "--allow_vrt" not in made[paths[3]].problem


def test_originals_are_fetched_within_a_budget_of_bytes(tmp_path: Path) -> None:
    paths = write_chips(tmp_path / "chips", 10)
    size = os.path.getsize(paths[0])

    made = thumbnails.make_thumbnails(
        dict.fromkeys(paths, ""), look(write_output(tmp_path / "out", [])).footer, int(4.5 * size)
    )

    assert 3 <= sum(bool(one.picture) for one in made.values()) <= 5
    assert {one.problem for one in made.values() if not one.picture} == {
        f"not fetched: all originals together exceed {int(4.5 * size):,} bytes"
    }


def test_storage_that_does_not_answer_does_not_keep_a_report_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "_SECONDS", 0.0)
    paths = write_chips(tmp_path / "chips", 3)

    made = thumbnails.make_thumbnails(dict.fromkeys(paths, ""), look(write_output(tmp_path / "out", [])).footer)

    assert {one.problem for one in made.values()} == {"not fetched: the originals take too long"}


def test_an_output_in_a_bucket_is_reported(bucket: Bucket, tmp_path: Path) -> None:
    from pipelines import storage

    data = image_files.unmarked_rgba_jpeg(image_files.picture(32, 32))
    storage.write(f"{bucket.path}/chips/a.jpg", data)
    entry = storage.look_up(f"{bucket.path}/chips/a.jpg")
    write_output(tmp_path / "out", [prediction(entry.path, [0.9] * 4, fingerprint=entry.fingerprint)])
    for file in (tmp_path / "out").rglob("*.*"):
        storage.write(f"{bucket.path}/out/{file.relative_to(tmp_path / 'out')}", file.read_bytes())

    assert make(f"{bucket.path}/out", tmp_path / "x.html") == 0

    page = described(tmp_path / "x.html")
    [image] = page["images"]
    assert (page["rows"], page["all_runs"], image["problem"], image["link"]) == (1, 1, "", "")
    assert base64.b64decode(image["picture"]).startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("/a b/ü#1.jpg", "file:///a%20b/%C3%BC%231.jpg"),
        ("/a/scene.tif#xywh=0,0,256,256", "file:///a/scene.tif"),
        ("/a/b+1.tif+green.tif+blue.jp2#xywh=0,0,256,256", "file:///a/b%2B1.tif"),
        ("gs://bucket/x.zip::in/a.jpg", "https://storage.cloud.google.com/bucket/x.zip"),
        ("s3://bucket/a&b/1.jpg", "https://s3.console.aws.amazon.com/s3/object/bucket?prefix=a%26b%2F1.jpg"),
        ("hdfs://host/a.jpg", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_a_link_leads_to_the_file_of_an_original(path: str, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)

    assert link_to(path) == link
