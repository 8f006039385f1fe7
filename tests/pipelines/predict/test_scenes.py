"""Scenes from files to rows: what is tagged, skipped and replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import storage
from tests import outputs
from tests.image_files import encode, picture
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import Predict, without
from tests.pipelines.predict.tiled import SHOWN, TILED, paths, windows
from tests.scene_files import cut_chip, samples, write_scene, write_vrt


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


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"stride": 64}, "--stride needs --tile"),
        ({"tile": 8}, "--tile 8: not a whole number from 16 to 8,192"),
        ({"tile": 64, "stride": 0}, "--stride 0: not a whole number from 16 to 8,192"),
        ({"mask": "udm2:clear>=0.5"}, "--mask needs --tile"),
        ({"nodata": 0}, "--nodata needs --tile"),
        ({"tile": 64, "nodata": "nan"}, "--nodata nan: not a finite number; write e.g. 0"),
        ({"tile": 64, "mask": "udm2:cloud<=0.1"}, "not of the form udm2:clear>=SHARE"),
        ({"tile": 64, "mask": "udm2:clear>=50%"}, "write e.g. --mask 'udm2:clear>=0.5'"),
        ({"tile": 64, "min_valid": 1.5}, "--min_valid 1.5: not a number from 0 to 1"),
        ({"tile": 64, "isolate_decoding": None}, "--tile and --isolate_decoding cannot be combined"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    flags: dict[str, Any], reason: str, run: Predict, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switches = [f"--{name}" for name, value in flags.items() if value is None]
    assert run(*switches, input=scenes, **{name: value for name, value in flags.items() if value is not None}) == 2
    assert reason in capsys.readouterr().err


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
