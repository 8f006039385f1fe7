"""`scenetags map`: what cannot be shown is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.results.maps import data as map_data
from tests.pipelines.map.mapping import SCENE, make
from tests.pipelines.results.scene_outputs import image, square, window, wkb, write_rows


def test_a_page_of_too_many_windows_is_refused(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(map_data, "MOST_WINDOWS", 5)
    (tmp_path / "map.html").write_text("old")

    assert make(output, "--html", str(tmp_path / "map.html")) == 2
    assert capsys.readouterr().err == (
        "scenetags map: the output has more than 5 windows, too many for a page; "
        "leave out improbable ones with --min_probability, or write --geojson\n"
    )
    assert (tmp_path / "map.html").read_text() == "old"
    assert make(output, "--html", str(tmp_path / "map.html"), "--min_probability", "0.6") == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [image("/a.jpg"), image("/b.jpg")],
            "its predictions are of images, not of windows of scenes; run `scenetags predict` on scenes, with --tile",
        ),
        (
            [window(SCENE, 0, 0)],
            "none of its windows says where it lies; tag scenes that have a coordinate",
        ),
        ([], "has no predictions; run `scenetags predict` on scenes, with --tile"),
        ([window(SCENE, 0, 0, geometry=wkb(square(10, 20))[:-1])], "holds a geometry that scenetags did not write"),
        ([window(SCENE, 0, 0, square(10, 20), p_road=float("nan"))], "holds a value that is not a probability"),
        ([window(SCENE, 0, 0, square(10, 20), p_road=None)], "holds a value that is not a probability"),
    ],
)
@pytest.mark.parametrize("written", ["--html=x.html", "--geojson=x.geojson"])
def test_an_output_that_cannot_be_shown_is_one_line(
    rows: list[dict[str, Any]],
    said: str,
    written: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "out", *rows)

    assert make(tmp_path / "out", written) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "nothing to write; give --html FILE.html, --geojson FILE.geojson or --cog FOLDER"),
        (
            ("--html=x.html", "--tag=raod"),
            "--tag: raod is not a label of the model; did you mean road?",
        ),
        (("--html=x.html", "--tag=xyz"), "--tag: xyz is not a label of the model; use one of clear, bare ground, road"),
        (("--html=x.html", "--min_probability=1"), "no window has a tag that reaches --min_probability; lower it"),
        (("--html=x.html", "--min_probability=1.1"), "--min_probability 1.1: not a number from 0 to 1"),
        (("--html=x.parquet",), "--html x.parquet is not a .html file"),
        (("--geojson=hdfs://b/x.geojson",), "--geojson hdfs://b/x.geojson cannot be written to; give a local path"),
        (("--html=gone/x.html",), "--html gone/x.html: the folder does not exist; create it first"),
        (("--geojson=-", "--basemap=https://a/{z}/{x}/{y}"), "--basemap needs --html"),
        (("--html=x.html", "--basemap=https://a/{z}/{x}"), "--basemap https://a/{z}/{x} is not a URL of tiles"),
        (("--html=x.html", "--basemap=https://a;b/{z}/{x}/{y}"), "is not a URL of tiles"),
        (("--html=x.html", "--basemap=javascript://a/{z}/{x}/{y}"), "is not a URL of tiles"),
    ],
)
def test_flags_that_cannot_be_carried_out_are_one_line(
    flags: tuple[str, ...],
    said: str,
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert make(output, *flags) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
