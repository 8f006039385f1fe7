"""Predictions of scenes are GeoParquet; those of chips know nothing of places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from rasterio.transform import from_origin

from pipelines.output.run import EMPTY, PREDICTIONS
from tests import outputs
from tests.image_files import encode, picture
from tests.pipelines.predict.predicting import Predict
from tests.pipelines.predict.tiled import TILED
from tests.scene_files import samples, write_scene


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
