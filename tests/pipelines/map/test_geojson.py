"""`scenetags map --geojson`: what is in the file is what is in the rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import map as command
from pipelines.output.commit import commit
from pipelines.output.run import Run, Wave
from pipelines.output.writing import PredictionTable, TableWriter
from pipelines.records import Footprint, ImageRef, Prediction, Window
from pipelines.scenes.grid import Grid
from tests.pipelines.map.mapping import ACROSS, SCENE, features, make
from tests.pipelines.output.rows import written
from tests.pipelines.results.scene_outputs import square, window, wkb, write_rows


def test_features_have_the_place_and_the_probabilities_of_each_window(output: Path, tmp_path: Path) -> None:
    assert make(output, "--tag", "road", "--tag", "clear", "--geojson", str(tmp_path / "x.geojson")) == 0

    found = features(tmp_path / "x.geojson")
    assert len(found) == 6
    assert found[2] == {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[10.02, 20], [10.03, 20], [10.03, 20.01], [10.02, 20.01], [10.02, 20]]],
        },
        "properties": {
            "path": f"{SCENE}#xywh=512,0,256,256",
            "width": 256,
            "height": 256,
            "scene": SCENE,
            "col_off": 512,
            "row_off": 0,
            "datetime": "2026-03-01T10:30:00Z",
            "p_road": 0.5,
            "p_clear": 0.5,
        },
    }
    assert [feature["properties"]["p_road"] for feature in found] == [0.2, 0.2137, 0.5, 0.9, 0, 0]


def test_rows_are_read_as_a_run_writes_them(run: Run, tmp_path: Path) -> None:
    ref = ImageRef(f"{SCENE}#xywh=0,256,256,256", 1, "1-1", window=Window(SCENE, 0, 256, 256, 256, 0, 512, 512, 1))
    footprint = Footprint(wkb(square(10, 20)), (10, 20, 10.01, 20.01), "2026-03-01T10:30:00+00:00")
    probabilities = np.array([0.25, 0.5, 0.75], np.float32)
    scenes = replace(run, grid=Grid(256, 256))
    writer = TableWriter(PredictionTable(), scenes)
    writer.write(Prediction(ref, 256, 256, "tiff 3x8", (), probabilities, footprint))
    staged = writer.close()
    assert staged is not None
    commit(scenes, Wave(inputs=1), written([staged]))

    assert command.main([run.output, "--tag", "blue", "--geojson", str(tmp_path / "x.json")]) == 0

    [feature] = features(tmp_path / "x.json")
    assert feature["geometry"]["coordinates"] == [[list(vertex) for vertex in (*square(10, 20), (10, 20))]]
    assert feature["properties"] == {
        "path": ref.path,
        "width": 256,
        "height": 256,
        "scene": SCENE,
        "col_off": 0,
        "row_off": 256,
        "datetime": "2026-03-01T10:30:00Z",
        "p_blue": 0.75,
    }


def test_a_window_across_the_antimeridian_is_a_feature_of_two_parts(tmp_path: Path) -> None:
    write_rows(tmp_path / "out", window(SCENE, 0, 0, *ACROSS, datetime=None))

    assert make(tmp_path / "out", "--geojson", str(tmp_path / "x.json")) == 0

    [feature] = features(tmp_path / "x.json")
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert feature["geometry"]["coordinates"] == [[[list(vertex) for vertex in (*ring, ring[0])]] for ring in ACROSS]
    assert feature["properties"]["datetime"] is None


def test_improbable_windows_are_left_out_and_counted(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--tag", "road", "--tag", "bare ground", "--min_probability", "0.2137")
    assert make(output, *flags, "--geojson", "-") == 0

    printed = capsys.readouterr()
    assert [feature["properties"]["p_road"] for feature in json.loads(printed.out)["features"]] == [0.2137, 0.5, 0.9]
    assert printed.err.splitlines() == [
        "standard output: 3 windows",
        "  left out: windows below 0.2137: 3",
        "  left out: windows without a location: 1",
        "  left out: images that are not windows: 1",
    ]
    assert make(output, *flags[:-1], "1", "--geojson", "-") == 0
    assert json.loads(capsys.readouterr().out)["features"] == []
