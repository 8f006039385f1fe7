"""`scenetags stac`: its documents are valid, and say of scenes what the rows say."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.table import TableExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from pipelines import map as map_command
from pipelines import stac as command
from pipelines import storage
from pipelines.output.run import RUNS
from pipelines.results.cataloguing.scene_extents import find_hull
from tests.conftest import Bucket
from tests.pipelines.results.scene_outputs import TAGS, TAKEN, footer, image, square, window, write_rows

NORTH, SOUTH = "/archive/north.tif", "/archive/a/b.tif+c.tif"
GRID = {"tile": 256, "stride": 256, "min_valid": 0.5, "edge": "shift"}


def write_output(folder: Path, *rows: dict[str, Any], name: str = "a", **others: Any) -> Path:
    """Write rows, and the manifest of the run that made them; others are fields of the footer."""
    write_rows(folder, *rows, name=name, metadata=footer(grid=GRID, **others))
    bundle = {"name": "amazon (2)", "path": str(folder.parent / "bundle"), "digest": "b" * 64}
    counts = dict.fromkeys(("inputs", "predictions", "failures", "skipped"), 0)
    empty: dict[str, Any] = {"tags": {}, "repairs": {}, "errors": {}, "passed_over": {}}
    (folder / RUNS).mkdir(exist_ok=True)
    manifest = {"run": "a", "status": "done", "bundle": bundle, **counts, **empty}
    (folder / RUNS / "a.json").write_text(json.dumps(manifest))
    return folder


def described(output: Path, *flags: str) -> dict[str, pystac.Item]:
    """Describe an output, and return the items by their ids; each document must be valid, without a network."""
    to = output.parent / "catalogue"
    assert command.main([str(output), "--to", str(to), *flags]) == 0
    collection = pystac.Collection.from_file(str(to / "collection.json"))
    validator = JsonSchemaSTACValidator()
    validator.validate_core(collection.to_dict(), pystac.STACObjectType.COLLECTION, "1.1.0", "")
    items = list(collection.get_items())
    for item in items:
        validator.validate_core(item.to_dict(), pystac.STACObjectType.ITEM, "1.1.0", "")
    return {item.id: item for item in items}


def test_an_item_says_of_its_scene_what_the_rows_say(tmp_path: Path) -> None:
    rows = [window(NORTH, 256 * number, 0, square(10 + number * 0.01, 20), tags=["road"]) for number in range(3)]
    rows.append(window(NORTH, 0, 256, square(10, 19.99), tags=["road", "clear"]))
    output = write_output(tmp_path / "out", *rows[:3])
    write_output(output, rows[3], window(SOUTH, 0, 0) | {"scene": "an item"}, name="b")
    write_output(output, image("/archive/chip.jpg"), name="c")

    items = described(output)
    north = items["north"]
    assert north.datetime == TAKEN
    assert north.bbox == [10, 19.99, 10.03, 20.01]
    assert north.geometry == {
        "type": "Polygon",
        "coordinates": [[[10, 19.99], [10.01, 19.99], [10.03, 20], [10.03, 20.01], [10, 20.01], [10, 19.99]]],
    }
    assert north.properties["scenetags:tags"] == {"clear": 1, "road": 4}
    rows_of = [asset for asset in north.assets.values() if asset.has_role("data")]
    assert [asset.extra_fields["table:row_count"] for asset in rows_of] == [3, 1]
    for asset in rows_of:
        assert Path(str(asset.get_absolute_href())).is_file()
    assert north.assets["scene"].get_absolute_href() == NORTH

    nowhere = items["an item"]
    assert nowhere.geometry is None
    assert nowhere.properties["scenetags:scene"] == SOUTH


def test_the_interval_of_the_collection_has_the_time_of_every_item(tmp_path: Path) -> None:
    half = TAKEN + timedelta(seconds=0.5)
    rows = [window(f"/archive/{name}.tif", 0, 0) | {"datetime": taken} for name, taken in (("a", half), ("b", TAKEN))]
    described(write_output(tmp_path / "out", *rows))
    collection = pystac.Collection.from_file(str(tmp_path / "catalogue/collection.json"))
    assert collection.extent.temporal.intervals == [[TAKEN, half]]


def test_model_and_columns_are_read_by_the_extensions(tmp_path: Path) -> None:
    more: dict[str, Any] = {"embedding_size": 8, "kept": [["place", "string"]]}
    more["rules"] = {"exclusive": [["clear", "road"]], "alone": []}
    [item] = described(write_output(tmp_path / "out", window(NORTH, 0, 0, square(10, 20)), **more)).values()
    model, table = MLMExtension.ext(item), TableExtension.ext(item)
    assert (model.mlm_name, model.architecture, model.tasks) == ("amazon 2", "MobileNetV2", ["scene-classification"])
    assert model.input[0].input.shape == [-1, 256, 256, 3]
    [classes] = [output.classes for output in model.output]
    assert [one.description for one in classes] == list(TAGS)  # type: ignore[union-attr]
    assert model.hyperparameters.to_dict()["bundle"] == "b" * 64  # type: ignore[union-attr]
    assert model.hyperparameters.to_dict()["thresholds"]["road"] == 0.2137  # type: ignore[union-attr]
    assert model.hyperparameters.to_dict()["rules"] == more["rules"]  # type: ignore[union-attr]
    names = [column.name for column in table.columns or ()]
    assert names[:5] == ["path", "tags", "p_clear", "p_bare_ground", "p_road"]
    assert names[-2:] == ["bbox", "place"]
    assert "embedding" in names
    assert table.row_count == 1


def test_the_file_of_a_scene_is_named_only_if_its_whole_path_is_known(tmp_path: Path) -> None:
    rows = (window("north.tif", 0, 0, square(10, 20)),)
    [item] = described(write_output(tmp_path / "out", *rows, relative=True)).values()
    assert "scene" not in item.assets
    assert item.properties["scenetags:scene"] == "north.tif"


def test_a_scene_across_the_antimeridian_has_two_parts(tmp_path: Path) -> None:
    rows = [window(NORTH, 0, 0, square(179.98, 0, 0.02)), window(NORTH, 256, 0, square(-180, 0, 0.02))]
    [item] = described(write_output(tmp_path / "out", *rows)).values()
    assert item.bbox == [179.98, 0, -179.98, 0.02]
    assert item.geometry
    assert item.geometry["type"] == "MultiPolygon"
    ends = [sorted({x for x, _ in ring}) for [ring] in item.geometry["coordinates"]]
    assert ends == [[179.98, 180], [-180, -179.98]]


def test_items_of_one_name_are_told_apart(tmp_path: Path) -> None:
    scenes = ("/a/scene.tif", "/b/scene.tif", "/c/SCENE.tif", "/d/../x y.tif")
    items = described(write_output(tmp_path / "out", *(window(scene, 0, 0, square(10, 20)) for scene in scenes)))
    assert {identity.partition("-")[0] for identity in items} == {"scene", "SCENE", "x y"}
    assert {item.properties["scenetags:scene"] for item in items.values()} == set(scenes)


def test_windows_that_are_there_twice_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [window(NORTH, 256 * number, 0, square(10 + number * 0.01, 20)) for number in range(3)]
    output = write_output(tmp_path / "out", *rows)
    write_output(output, rows[1], name="copy")
    for main in (command.main, map_command.main):
        flags = ["--to", f"{tmp_path}/catalogue"] if main is command.main else ["--html", f"{tmp_path}/map.html"]
        assert main([str(output), *flags]) == 2
        assert f"{output}/predictions has two rows for {NORTH}#xywh=256,0" in capsys.readouterr().err


def test_no_item_takes_the_place_of_the_collection(tmp_path: Path) -> None:
    rows = [window(f"/archive/{name}.json.tif", 0, 0) for name in ("collection", "COLLECTION")]
    items = described(write_output(tmp_path / "out", *rows))
    assert sorted(items) == ["COLLECTION.json", "collection.json"]


@pytest.mark.parametrize("others", ['{"type": "Collection", "id": "out"}', "[1]", "no JSON", "other", "out"])
def test_a_collection_that_is_not_of_this_output_is_not_replaced(
    others: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = write_output(tmp_path / "out", window(NORTH, 0, 0, square(10, 20)))
    collection = tmp_path / "catalogue" / "collection.json"
    collection.parent.mkdir()
    if others in ("other", "out"):
        # Another output, which may be called the same.
        another = write_output(tmp_path / "b" / others, window(SOUTH, 0, 0, square(10, 20)))
        assert command.main([str(another), "--to", str(collection.parent)]) == 0
        others = collection.read_text()
    collection.write_text(others)

    there = sorted(collection.parent.rglob("*"))
    assert command.main([str(output), "--to", str(collection.parent)]) == 2
    said = capsys.readouterr().err
    assert f"{collection} is not a collection that scenetags has made of this output; choose another folder" in said
    assert said.count("\n") == 1
    assert collection.read_text() == others
    assert sorted(collection.parent.rglob("*")) == there

    collection.unlink()
    assert described(output).keys() == described(output).keys() == {"north"}
    earlier = json.loads(collection.read_text())
    earlier["links"] = [link for link in earlier["links"] if link["rel"] != "via"]
    collection.write_text(json.dumps(earlier))
    assert described(output).keys() == {"north"}, "an earlier version has made it"


def test_a_scene_without_a_time_needs_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (window(NORTH, 0, 0, square(10, 20), datetime=None), window(SOUTH, 0, 0, square(10, 20)))
    output = write_output(tmp_path / "out", *rows)
    for flags, reason in (
        ((), f"{NORTH}: nothing says when it was taken, which STAC requires; give --datetime"),
        (("--datetime", "2026-01-01"), "--datetime 2026-01-01: not a time with its zone"),
    ):
        assert command.main([str(output), "--to", str(tmp_path / "catalogue"), *flags]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "catalogue").exists()
    items = described(output, "--datetime", "2026-01-01T01:00:00+01:00")
    assert items["north"].properties["datetime"] == "2026-01-01T00:00:00Z"
    assert items["b.tif+c"].datetime == TAKEN


UNKNOWN = "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+10:00"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--to", ""), "--to is empty"),
        *((("--to", "here", "--datetime", time), "not a time with its zone") for time in ("yesterday", *UNKNOWN)),
    ],
)
def test_wrong_flags_are_refused(flags: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["out", *flags]) == 2
    assert reason in capsys.readouterr().err


def test_an_output_without_scenes_or_manifest_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_output(tmp_path / "chips", image("/archive/chip.jpg"))
    write_rows(tmp_path / "bare", window(NORTH, 0, 0, square(10, 20)), metadata=footer(grid=GRID))
    for name, reason in (
        ("chips", "its predictions are of images, not of windows"),
        ("bare", "names the bundle that made the rows"),
    ):
        assert command.main([str(tmp_path / name), "--to", str(tmp_path / "catalogue")]) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_no_credentials_are_sent_if_none_are_wanted(bucket: Bucket, tmp_path: Path) -> None:
    output = f"{bucket.path}/out"
    write_output(tmp_path / "out", window(NORTH, 0, 0, square(10, 20)))
    for file in ("predictions/a.parquet", "runs/a.json"):
        storage.write(f"{output}/{file}", (tmp_path / "out" / file).read_bytes())
    signed: list[bool] = []
    bucket.proxy.judge = lambda method, path, headers: signed.append("authorization" in headers)

    assert command.main([output, "--to", str(tmp_path / "signed")]) == 0
    assert all(signed)
    signed.clear()
    # The bucket is not public.
    assert command.main([output, "--to", str(tmp_path / "anonymous"), "--anonymous"]) == 2
    assert signed
    assert not any(signed)
    signed.clear()
    # What is written needs them.
    assert command.main([output, "--to", f"{bucket.path}/catalogue", "--anonymous"]) == 0
    assert all(signed)


def test_a_hull_holds_all_points_and_runs_counter_clockwise() -> None:
    hull = find_hull([(0, 0), (2, 0), (1, 0.5), (1, 1), (2, 2), (0, 2), (2, 1), (0, 0)])
    assert hull.tolist() == [[0, 0], [2, 0], [2, 2], [0, 2]]
