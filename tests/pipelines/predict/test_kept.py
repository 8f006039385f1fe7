"""Columns of a list in the rows of its images."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import outputs
from tests.pipelines.conftest import on_both_runners
from tests.pipelines.predict.predicting import CHIP, Predict
from tests.scene_files import samples, write_scene

LISTED = {"input": None, "max_failure_rate": 1}


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Write a list of a chip, a scene of two windows, and a file that does not exist."""
    (tmp_path / "chip.jpg").write_bytes(CHIP)
    write_scene(tmp_path / "scene.tif", samples(64, 128), tile=64)
    path = tmp_path / "list.csv"
    path.write_text("path,day,site\nchip.jpg,2026-01-31,7\nscene.tif,2026-02-01,8\ngone.jpg,,9\n")
    return path


@on_both_runners
def test_rows_have_the_values_of_their_image(run: Predict, listed: Path, tmp_path: Path) -> None:
    shown = {"bands": "3,2,1", "stretch": "0:2500", "tile": 64}
    assert run(**LISTED, **shown, input_list=listed, keep_columns="all") == 0
    out = tmp_path / "out"
    found = {row["path"].rpartition("/")[2]: (row["day"], row["site"]) for row in outputs.rows(out)}
    assert found == {
        "chip.jpg": (date(2026, 1, 31), 7),
        "scene.tif#xywh=0,0,64,64": (date(2026, 2, 1), 8),
        "scene.tif#xywh=64,0,64,64": (date(2026, 2, 1), 8),
    }
    assert [(row["day"], row["site"]) for row in outputs.rows(out, "failures")] == [(None, 9)]


@on_both_runners
def test_an_image_that_an_input_names_too_has_the_values_of_its_row(run: Predict, listed: Path, tmp_path: Path) -> None:
    (tmp_path / "other.jpg").write_bytes(CHIP)
    listed.write_text("path,site\nchip.jpg,7\n")

    assert run(input=tmp_path / "*.jpg", input_list=listed, keep_columns="site") == 0

    found = {row["path"].rpartition("/")[2]: row["site"] for row in outputs.rows(tmp_path / "out")}
    assert found == {"chip.jpg": 7, "other.jpg": None}


def test_an_output_takes_one_set_of_columns(
    run: Predict, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scene.tif").unlink()
    given = {**LISTED, "input_list": listed}
    assert run(**given, keep_columns="site") == 0
    assert run(**given, keep_columns="site") == 0
    assert outputs.manifest(tmp_path / "out")["skipped"] == 1
    for other in ({}, {"keep_columns": "site:string"}, {"keep_columns": "site,day"}):
        assert run(**given, **other) == 2
        assert "rows with site:int64 of the list, and this run keeps" in capsys.readouterr().err
    assert run(**given, overwrite=True) == 0
    [file] = (tmp_path / "out" / "predictions").glob("*.parquet")
    assert "site" not in pq.read_schema(file).names


def test_the_columns_to_give_are_written_as_a_shell_takes_them(
    run: Predict, listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed.write_text("file,the site\nchip.jpg,1\n")
    assert run(**LISTED, input_list=listed, path_column="file", keep_columns="all") == 0
    assert run(**LISTED, input_list=listed, path_column="file") == 2
    assert "give --keep_columns 'the site:int64', choose" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["path", "TAGS", "p_Bright", "geometry", "message"])
def test_columns_named_like_those_of_the_output_are_refused(
    run: Predict, listed: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed.write_text(f"file,{name}\nchip.jpg,1\n")
    assert run(**LISTED, input_list=listed, path_column="file", keep_columns="all") == 2
    assert f"the output already has a column {name}; rename yours" in capsys.readouterr().err


def test_columns_of_the_list_that_differ_in_case_alone_are_refused_by_both_names(
    run: Predict, listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed.write_text("file,site,Site\nchip.jpg,1,2\n")
    assert run(**LISTED, input_list=listed, path_column="file", keep_columns="all") == 2
    assert "many programs take site and Site for one column; rename one in the list" in capsys.readouterr().err
