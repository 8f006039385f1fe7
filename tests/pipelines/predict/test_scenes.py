"""Scenes from files to rows: what is tagged, skipped, replaced and left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from rasterio.transform import from_origin

from pipelines import storage
from pipelines.output.run import EMPTY, PREDICTIONS
from tests import outputs
from tests.image_files import encode, picture
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict, without
from tests.scene_files import cut_chip, samples, write_scene, write_vrt

SHOWN = {"bands": "3,2,1", "stretch": "0:2500"}
TILED = {**SHOWN, "tile": 64}


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Write two scenes of 2 x 3 windows."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for number, name in enumerate(("a.tif", "b.tif")):
        write_scene(folder / name, samples(128, 192, seed=number), tile=64)
    return folder


def paths(output: Path, table: str = PREDICTIONS) -> list[str]:
    """Name the rows of a table by the ends of their paths; every file must open."""
    files = sorted((output / table).glob("*.parquet"))
    rows = [path for file in files for path in pq.read_table(file)["path"].to_pylist()]
    return sorted(path.rpartition("/")[2] for path in rows)


def windows(name: str, width: int, height: int) -> list[str]:
    return sorted(f"{name}#xywh={column},{row},64,64" for column in range(0, width, 64) for row in range(0, height, 64))


@on_both_runners
def test_each_window_is_one_row_and_a_second_run_skips_them(run: Predict, scenes: Path, tmp_path: Path) -> None:
    (scenes / "chip.png").write_bytes(encode(picture(100, 100), "png"))
    out = tmp_path / "out"
    assert run(input=scenes, **TILED) == 0
    assert paths(out) == [*windows("a.tif", 192, 128), *windows("b.tif", 192, 128), "chip.png"]
    assert run(input=scenes, **TILED) == 0
    assert outputs.manifest(out)["skipped"] == 13


def test_a_window_has_the_probabilities_of_a_chip_that_was_cut_beforehand(
    run: Predict, scenes: Path, tmp_path: Path
) -> None:
    chips = tmp_path / "chips"
    chips.mkdir()
    for column in (0, 64, 128):
        (chips / f"{column}.tif").write_bytes(cut_chip(scenes / "a.tif", (column, 64, 64, 64)))
    assert run(input=chips, output=tmp_path / "of chips", **SHOWN) == 0
    assert run(input=scenes / "a.tif", output=tmp_path / "of scenes", **TILED) == 0

    by_path = {row["path"].rpartition("=")[2]: row for row in outputs.rows(tmp_path / "of scenes")}
    only = "path", "fingerprint", "run", "scene", "col_off", "row_off", "datetime", "geometry", "bbox"
    for row in outputs.rows(tmp_path / "of chips"):
        left = Path(row["path"]).stem
        assert without(by_path[f"{left},64,64,64"], *only) == without(row, *only), left


def test_percentiles_are_those_of_each_scene_and_stand_in_the_footers(
    run: Predict, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scene(scenes / "b.tif", np.full((4, 128, 192), 7, "uint16"), tile=64)
    said = {"bands": "3,2,1", "stretch": "p2:p98", "tile": 64}
    out = tmp_path / "out"
    assert run("--max_failure_rate=1", input=scenes, **said) == 0
    assert paths(out) == windows("a.tif", 192, 128)
    assert "p2 and p98 of red are 7 and 7" in outputs.failed(out)["b.tif"]
    assert outputs.manifest(out)["rendering"]["percentiles"] == [[2, 98]] * 3
    assert outputs.rows(out)[0]["repairs"] == ["bands_321", "extra_band_dropped", "stretched"]
    capsys.readouterr()
    assert run(input=scenes / "a.tif", **TILED) == 2
    assert "rows made with different --bands, --stretch or --product" in capsys.readouterr().err


def test_rows_of_another_grid_are_not_mixed_into_one_output(
    run: Predict, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(input=scenes, **TILED) == 0
    theirs = "with --tile=64 --stride=64 --min_valid=0.5 --edge=shift"
    for other, ours in (({**TILED, "stride": 32}, theirs.replace("stride=64", "stride=32")), (SHOWN, "without --tile")):
        capsys.readouterr()
        assert run(input=scenes, **other) == 2
        assert f"rows made {theirs}, not {ours}; " in capsys.readouterr().err


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


def test_a_replaced_scene_leaves_no_row_of_a_window_that_it_no_longer_has(
    run: Predict, scenes: Path, tmp_path: Path
) -> None:
    out, scene = tmp_path / "out", scenes / "a.tif"
    others = windows("b.tif", 192, 128)
    assert run(input=scenes, **TILED) == 0

    write_scene(scene, samples(64, 128, seed=5), tile=64)
    assert run(input=scenes, **TILED) == 0
    assert paths(out) == [*windows("a.tif", 128, 64), *others]

    scene.write_bytes(scene.read_bytes()[:50])
    assert run("--max_failure_rate=1", input=scenes, **TILED) == 0
    assert paths(out) == others
    assert list(outputs.failed(out)) == ["a.tif"]


def test_a_list_made_of_rows_and_of_their_scene_gives_each_window_one_row(run: Predict, tmp_path: Path) -> None:
    scene, out = write_scene(tmp_path / "scene.tif", samples(64, 128), tile=64), tmp_path / "out"
    (tmp_path / "list.txt").write_text(f"{scene}#xywh=0,0,64,64\n{scene}\n")
    for _ in range(2):
        assert run("--max_failure_rate=1", input=None, input_list=tmp_path / "list.txt", **TILED) == 0
        assert paths(out) == windows("scene.tif", 128, 64)
    assert list(outputs.failed(out).values()) == ["no file, but the window of a scene: list the scene"]


def test_rows_stay_while_nobody_knows_which_version_of_a_scene_is_there(
    run: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("red", "green", "blue"):
        write_scene(tmp_path / f"{name}.tif", samples(64, 128, 1), tile=64)
    write_vrt(tmp_path / "x.vrt", ["red.tif", "green.tif", "blue.tif"])
    scene, out = write_scene(tmp_path / "a.tif", samples(64, 128, 3), tile=64), tmp_path / "out"
    write_scene(tmp_path / "a_udm2.tif", np.ones((8, 64, 128), "uint8"), tile=64)
    shown = {"stretch": "0:2500", "bands": "1,2,3", "tile": 64}
    masked = {**shown, "mask": "udm2:clear>=0.5", "output": tmp_path / "masked"}
    assert run("--allow_vrt", input=tmp_path / "*.vrt", **shown) == 0
    assert run(input=scene, **masked) == 0

    def fail(*_: object) -> None:
        raise storage.TransientError(5, "the server does not answer")

    assert run("--max_failure_rate=1", input=tmp_path / "*.vrt", **shown) == 0
    monkeypatch.setattr("pipelines.listing.scenes.look_for_clear", fail)
    assert run("--max_failure_rate=1", input=scene, **masked) == 0
    assert paths(out) == windows("x.vrt", 128, 64)
    assert paths(tmp_path / "masked") == windows("a.tif", 128, 64)
    assert list(outputs.failed(out)) == ["x.vrt"]
    assert list(outputs.failed(tmp_path / "masked")) == ["a.tif"]


def test_an_overwrite_holds_the_windows_of_the_last_grid(run: Predict, scenes: Path, tmp_path: Path) -> None:
    assert run(input=scenes, **TILED) == 0
    assert run("--overwrite", input=scenes / "a.tif", **TILED, stride=128) == 0
    assert paths(tmp_path / "out") == ["a.tif#xywh=0,0,64,64", "a.tif#xywh=128,0,64,64"]


def geography(file: Path) -> dict[str, Any]:
    metadata = pq.read_metadata(file).metadata
    return dict(json.loads(metadata[b"geo"]))


def test_predictions_of_scenes_are_geoparquet(run: Predict, scenes: Path, tmp_path: Path) -> None:
    assert run(input=scenes, **TILED) == 0
    [file] = (tmp_path / "out" / PREDICTIONS).glob("*.parquet")
    described = geography(file)
    assert (described["version"], described["primary_column"]) == ("1.1.0", "geometry")
    column = described["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["covering"]["bbox"] == {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
    ends = "min(bbox.xmin), min(bbox.ymin), max(bbox.xmax), max(bbox.ymax)"
    found = duckdb.sql(f"select {ends} from '{file}'")
    assert found
    assert found.fetchall() == [tuple(column["bbox"])]


def test_the_extent_of_a_file_is_right_after_rows_in_it_were_replaced(
    run: Predict, scenes: Path, tmp_path: Path
) -> None:
    assert run(input=scenes, **TILED) == 0
    [file] = (tmp_path / "out" / PREDICTIONS).glob("*.parquet")
    before = geography(file)["columns"]["geometry"]["bbox"]
    write_scene(scenes / "a.tif", samples(128, 192), tile=64, transform=from_origin(400_000, 9_000_000, 3, 3))
    assert run(input=scenes, **TILED) == 0
    after = geography(file)["columns"]["geometry"]["bbox"]
    assert after[0] < before[0]
    assert after[1:3] == pytest.approx(before[1:3], abs=1e-3)


def test_the_folder_of_predictions_is_geoparquet_as_a_whole(run: Predict, scenes: Path, tmp_path: Path) -> None:
    """GeoPandas looks for it in Arrow's schema of the folder; the footer of a file counts if that file is opened."""
    folder = tmp_path / "out" / PREDICTIONS
    for moment in ("written", "joined", "rewritten"):
        if moment == "joined":
            write_scene(scenes / "c.tif", samples(64, 64), tile=64)
        if moment == "rewritten":
            write_scene(scenes / "a.tif", samples(128, 192, seed=1), tile=64)
        assert run(input=scenes, **TILED) == 0
        described = json.loads(pq.ParquetDataset(folder).schema.metadata[b"geo"])
        assert (described["version"], described["primary_column"]) == ("1.1.0", "geometry"), moment
        assert all("bbox" in geography(file)["columns"]["geometry"] for file in folder.iterdir()), moment


def test_a_scene_without_a_place_has_no_geometry(run: Predict, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", samples(128, 64), tile=64, transform=None)
    assert run(input=scene, **TILED) == 0
    for row in outputs.rows(tmp_path / "out"):
        assert row["geometry"] is row["bbox"] is row["datetime"] is None
        assert (row["scene"], row["col_off"]) == (str(scene), 0)


def test_files_of_chips_have_no_columns_of_scenes(run: Predict, tmp_path: Path) -> None:
    (tmp_path / "chip.png").write_bytes(encode(picture(), "png"))
    assert run(input=tmp_path / "chip.png") == 0
    [file] = (tmp_path / "out" / PREDICTIONS).glob("*.parquet")
    assert "scene" not in pq.read_schema(file).names
    assert b"geo" not in pq.read_metadata(file).metadata
    assert not (tmp_path / "out" / EMPTY).exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"stride": 64}, "--stride needs --tile"),
        ({"tile": 8}, "--tile must be between 16 and 8,192 pixels, not 8"),
        ({"tile": 64, "stride": 0}, "--stride must be between 16 and 8,192 pixels, not 0"),
        ({"mask": "udm2:clear>=0.5"}, "--mask needs --tile"),
        ({"nodata": 0}, "--nodata needs --tile"),
        ({"tile": 64, "nodata": "nan"}, "--nodata nan: NaN and infinity never hold data; give the value of a pixel"),
        ({"tile": 64, "mask": "udm2:cloud<=0.1"}, "not of the form udm2:clear>=SHARE"),
        ({"tile": 64, "mask": "udm2:clear>=50%"}, "write e.g. --mask 'udm2:clear>=0.5'"),
        ({"tile": 64, "min_valid": 1.5}, "--min_valid must be between 0 and 1, not 1.5"),
        ({"tile": 64, "isolate_decoding": None}, "--tile and --isolate_decoding cannot be combined"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    flags: dict[str, Any], reason: str, run: Predict, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switches = [f"--{name}" for name, value in flags.items() if value is None]
    assert run(*switches, input=scenes, **{name: value for name, value in flags.items() if value is not None}) == 2
    assert reason in capsys.readouterr().err


def test_rows_far_apart_lie_in_different_row_groups(
    run: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.output.writing.ROWS_PER_REGION", 8)
    scene = write_scene(tmp_path / "scene.tif", samples(512, 512), tile=64)
    assert run(input=scene, **TILED) == 0
    [file] = (tmp_path / "out" / PREDICTIONS).glob("*.parquet")
    groups = pq.ParquetFile(file)
    assert groups.num_row_groups == 8
    boxes = [groups.read_row_group(group, ["bbox"])["bbox"].to_pylist() for group in range(8)]
    ends = [(min(box["xmin"] for box in group), max(box["xmax"] for box in group)) for group in boxes]
    rows = [(min(box["ymin"] for box in group), max(box["ymax"] for box in group)) for group in boxes]
    met = [
        sum(
            west < box["xmax"] and box["xmin"] < east and south < box["ymax"] and box["ymin"] < north
            for (west, east), (south, north) in zip(ends, rows, strict=True)
        )
        for group in boxes
        for box in group
    ]
    assert np.mean(met) < 3, "a window lies in one group, and at the edge of a few others"


def test_assets_of_a_catalogue_are_tagged_and_a_missing_item_ends_with_code_3(
    run: Predict, scenes: Path, tmp_path: Path
) -> None:
    def item(name: str) -> dict[str, Any]:
        return {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"item {name}",
            "properties": {"datetime": "2020-01-02T04:00:00+01:00"},
            "assets": {"visual": {"href": f"scenes/{name}"}},
        }

    links = [{"rel": "item", "href": f"{name}.json"} for name in ("a.tif", "b.tif")]
    catalogue = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "", "links": links}
    (tmp_path / "catalogue.json").write_text(json.dumps(catalogue))
    for name in ("a.tif", "b.tif"):
        (tmp_path / f"{name}.json").write_text(json.dumps(item(name)))
    assert run(input=tmp_path / "catalogue.json", asset="visual", **TILED) == 0
    rows = outputs.rows(tmp_path / "out")
    assert {(row["scene"], row["path"].rpartition("/")[2].partition("#")[0]) for row in rows} == {
        *(("item a.tif", "a.tif"), ("item b.tif", "b.tif"))
    }
    assert {row["datetime"].isoformat() for row in rows} == {"2020-01-02T03:00:00+00:00"}
    assert len(rows) == 12

    (tmp_path / "b.tif.json").unlink()
    assert run(input=tmp_path / "catalogue.json", asset="visual", **TILED) == 3
    assert outputs.manifest(tmp_path / "out")["skipped"] == 6


def test_bands_in_files_of_their_own_are_one_scene_and_replaced_together(run: Predict, tmp_path: Path) -> None:
    for number, name in enumerate(("red", "green", "blue")):
        write_scene(tmp_path / f"{name}.tif", samples(64, 192, 1, seed=number), tile=64)
    assets = {name: {"href": f"{name}.tif"} for name in ("red", "green", "blue")}
    (tmp_path / "a.json").write_text(json.dumps({"type": "Feature", "id": "a", "assets": assets}))
    flags = {"input": tmp_path / "a.json", "asset": "red,green,blue", "tile": 64, "stretch": "0:2500"}
    assert run(**flags) == 0
    rows = outputs.rows(tmp_path / "out")
    assert [(row["scene"], row["path"].rpartition("/")[2]) for row in rows] == [
        ("a", name) for name in windows("red.tif+green.tif+blue.tif", 192, 64)
    ]

    write_scene(tmp_path / "green.tif", samples(64, 192, 1, seed=5), tile=64)
    assert run(**flags) == 0
    replaced = outputs.rows(tmp_path / "out")
    assert [row["path"] for row in replaced] == [row["path"] for row in rows]
    assert not {row["fingerprint"] for row in rows} & {row["fingerprint"] for row in replaced}
