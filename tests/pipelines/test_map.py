"""`scenetags map`: what is on the page and in the GeoJSON is what is in the rows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import map as command
from pipelines.output.commit import commit
from pipelines.output.run import Run, Wave
from pipelines.output.writing import PredictionTable, TableWriter
from pipelines.records import Footprint, ImageRef, Prediction, Window
from pipelines.results.maps import data as map_data
from pipelines.results.maps.data import pack, unrolled
from pipelines.results.maps.footprints import read_footprints
from pipelines.results.outputs import open_output
from pipelines.scenes.grid import Grid
from tests.pipelines.output.rows import written
from tests.pipelines.results.scene_outputs import TAGS, footer, image, square, window, wkb, write_rows

Look = Callable[..., Any]

SCENE = "/archive/north.tif"
ACROSS = [
    [(179.99, 0.0), (180.0, 0.0), (180.0, 0.01), (179.99, 0.01)],
    [(-180, 0), (-179.99, 0), (-179.99, 0.01), (-180, 0.01)],
]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Write an output: six windows of two scenes in two files, one without a place, and an image."""
    rows = [
        window(SCENE, 256 * column, 0, square(10 + column * 0.01, 20), p_road=probability, p_clear=1 - probability)
        for column, probability in enumerate((0.2, 0.2137, 0.5, 0.9))
    ]
    write_rows(tmp_path / "out", *rows[:3], window(SCENE, 0, 512), name="a")
    write_rows(
        tmp_path / "out", rows[3], *(window("/archive/south.tif", 0, row, square(10, 18)) for row in (0, 256)), name="b"
    )
    write_rows(tmp_path / "out", image("/archive/chip.jpg"), name="c")
    return tmp_path / "out"


def make(output: Path, *flags: str) -> int:
    return command.main([str(output), *flags])


def features(path: Path) -> list[dict[str, Any]]:
    collection = json.loads(path.read_text())
    assert collection["type"] == "FeatureCollection"
    return list(collection["features"])


@pytest.fixture
def look(output: Path, tmp_path: Path) -> Look:
    """Make a page, and look at it in Node: at first, and after steps."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")

    def look(*flags: str, steps: Sequence[Sequence[object]] = (), output: Path = output) -> Any:
        assert make(output, "--html", str(tmp_path / "map.html"), *flags) == 0
        program = Path(__file__).parent / "results" / "page_in_node.js"
        done = subprocess.run(
            [str(node), str(program), str(tmp_path / "map.html"), json.dumps(steps)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return look


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


def test_the_page_counts_as_the_run_did_and_as_the_slider_says(look: Look) -> None:
    seen = look("--tag", "road", "--tag", "clear", steps=[("threshold", 0.6)])

    assert seen["tags"] == ["road", "clear"]
    assert seen["left"] == "left out: windows without a location: 1; images that are not windows: 1"
    # The threshold itself is reached, as by the tags, though 0.2137 as float32 is less than 0.2137.
    assert seen["first"]["count"] == "3 of 6 windows (50.0\xa0%), in 1 of 2 scenes"
    assert seen["first"]["value"] == "0.2137"
    assert seen["first"]["scenes"] == [["north.tif", "3 of 4"], ["south.tif", "0 of 2"]]
    assert seen["last"]["count"] == "1 of 6 windows (16.7\xa0%), in 1 of 2 scenes"
    assert seen["last"]["value"] == "0.6"


def test_another_tag_has_its_own_threshold(look: Look) -> None:
    seen = look(steps=[("threshold", 0.9), ("tag", 2)])

    assert seen["tags"] == list(TAGS)
    assert (seen["first"]["value"], seen["last"]["value"]) == ("0.5", "0.2137")
    assert seen["last"]["count"].startswith("3 of 6 windows")


def test_windows_are_drawn_where_they_lie_and_named_under_the_pointer(look: Look) -> None:
    seen = look("--tag", "road", "--tag", "clear", steps=[("scene", 0)])

    # Four squares in a row fill the scene, each with as many pixels.
    pixels = seen["last"]["pixels"][:4]
    assert min(pixels) > 5000
    assert max(pixels) < 1.03 * min(pixels)
    assert seen["hovers"][:2] == [
        f"{SCENE}#xywh={column},0,256,256\n2026-03-01T10:30:00Z\nroad: {road}\xa0%\nclear: {clear}\xa0%"
        for column, road, clear in ((0, "20.0", "80.0"), (256, "21.4", "78.6"))
    ]


def test_of_windows_that_overlap_the_most_probable_one_is_on_top(look: Look, tmp_path: Path) -> None:
    shifted = [window(SCENE, 128 * n, 0, square(10 + n * 0.005, 20), p_road=p) for n, p in enumerate((0.3, 0.9, 0.6))]
    write_rows(tmp_path / "overlapping", *shifted)

    low, high, middle = look("--tag", "road", output=tmp_path / "overlapping")["first"]["pixels"]

    assert high == pytest.approx(2 * low, rel=0.05)
    assert middle == pytest.approx(low, rel=0.05)


def test_scenes_whose_windows_take_turns_are_told_apart(look: Look, tmp_path: Path) -> None:
    hexagon = [(10.02, 20.0), (10.03, 20.0), (10.04, 20.01), (10.03, 20.02), (10.02, 20.02), (10.01, 20.01)]
    rows = [
        window("/a.tif", 0, 0, square(10, 20), p_road=0.1),
        window("/b.tif", 0, 0, hexagon, p_road=0.2),
        window("/a.tif", 256, 0, square(10, 20.02, 0.005), p_road=0.3),
        window("/b.tif", 256, 0, square(10.05, 20, 0.02), p_road=0.4),
    ]
    write_rows(tmp_path / "turns", *rows)

    seen = look("--tag", "road", output=tmp_path / "turns")

    assert [text.split("\n")[0::2] for text in seen["hovers"]] == [
        [f"/{scene}.tif#xywh={column},0,256,256", f"road: {probability}\xa0%"]
        for scene, column, probability in (("a", 0, "10.0"), ("a", 256, "30.0"), ("b", 0, "20.0"), ("b", 256, "40.0"))
    ]
    small, quarter, six_sided, large = seen["first"]["pixels"]
    assert [quarter / small, six_sided / small, large / small] == pytest.approx([1 / 4, 4, 4], rel=0.1)


def test_the_outline_of_a_scene_surrounds_all_its_windows(output: Path) -> None:
    opened = open_output(str(output))
    packed = pack(read_footprints(opened, opened.footer(), ["road"]))

    north, south = packed.scenes
    assert north["outline"] == [[10.04, 20.01], [10, 20.01], [10, 20], [10.04, 20]]
    assert north["bounds"] == pytest.approx([10, 20, 10.04, 20.01])
    assert (north["windows"], south["windows"]) == (4, 2)


def test_no_window_is_too_small_to_be_seen(look: Look, tmp_path: Path) -> None:
    far = [window(f"/{n}.tif", 0, 0, square(n * 10, n * 5, 1e-4)) for n in range(5)]
    write_rows(tmp_path / "far", *far)

    assert look(output=tmp_path / "far")["first"]["pixels"] == [1] * 5


def test_a_scene_across_the_antimeridian_lies_together(look: Look, tmp_path: Path) -> None:
    near = window("/near.tif", 0, 0, square(-179.99, 0.01))
    write_rows(tmp_path / "across", window(SCENE, 0, 0, *ACROSS), near)

    pixels = look(output=tmp_path / "across")["first"]["pixels"]

    assert pixels[0] == pytest.approx(2 * pixels[1], rel=0.05)
    assert pixels[1] > 5000


def test_longitudes_are_unrolled_only_where_no_ring_is_torn() -> None:
    def widened(*rings: Sequence[tuple[float, float]]) -> list[float]:
        vertices = np.array([vertex for ring in rings for vertex in ring], float)
        return list(np.ptp(unrolled(vertices, np.array([len(ring) for ring in rings])), axis=0))

    assert widened(square(-179, 0, 1), square(178, 0, 1)) == [4, 1]
    assert widened(square(-179, 0, 1), square(-170, 0, 1)) == [10, 1]
    around = [square(west, 0, 60) for west in range(-180, 180, 60)]
    assert widened(*around) == [360, 60]


class Elements(HTMLParser):
    """Lists the elements of a page, and the text in each kind of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.names[-1] if self.names else "", []).append(data)


EVIL = "</script><script>alert(1)</script><img src=//x onerror=alert(1)><!--\"'&$title\u202e\n"


def test_names_of_strangers_are_text_on_the_page(look: Look, output: Path, tmp_path: Path) -> None:
    columns = {"clear": "p_clear", "bare ground": "p_bare_ground", EVIL: "p_road"}
    folder = tmp_path / "<b>out$title"
    metadata = footer(labels=list(columns), columns=columns, bundle=EVIL)
    write_rows(folder, window(f"/{EVIL}.tif", 0, 0, square(10, 20)), metadata=metadata)

    seen = look(output=folder)

    shown = EVIL.replace("\u202e\n", "\\u202e\\n")
    assert seen["tags"][-1] == shown
    assert seen["hovers"][0].startswith(f"/{shown}.tif#xywh=0,0,256,256\n")
    make(folder, "--html", str(tmp_path / "map.html"))
    page = Elements((tmp_path / "map.html").read_text())
    make(output, "--html", str(tmp_path / "other.html"))
    other = Elements((tmp_path / "other.html").read_text())
    assert page.names == other.names
    assert page.texts["title"][0] == page.texts["h1"][0] == "<b>out$title"


def test_the_page_may_run_its_own_script_and_reach_nothing(output: Path, tmp_path: Path) -> None:
    assert make(output, "--html", str(tmp_path / "map.html")) == 0

    page = (tmp_path / "map.html").read_text()
    [script] = re.findall("<script>(.*)</script>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [value for name, value in Elements(page).attributes if name == "content" and "src" in str(value)]
    assert policy is not None
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'sha256-")
    assert "img-src" not in policy
    assert not re.search("https?:|//[a-z]+[.]", page)
    assert not [name for name, _ in Elements(page).attributes if name in ("src", "href") or name.startswith("on")]


def test_a_basemap_is_the_only_thing_that_is_reached(output: Path, tmp_path: Path) -> None:
    url = "https://tiles.example:8080/{z}/{x}/{y}.png?key=a;b"
    assert make(output, "--html", str(tmp_path / "map.html"), "--basemap", url) == 0

    page = (tmp_path / "map.html").read_text()
    assert page.count("https:") == 2
    [policy] = [value for name, value in Elements(page).attributes if name == "content" and "src" in str(value)]
    assert " img-src https://tiles.example:8080; " in str(policy)


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
            "its 2 rows are of images, not of windows of scenes; run `scenetags predict` on",
        ),
        (
            [window(SCENE, 0, 0)],
            "none of its 1 windows says where it lies; tag scenes that have a coordinate",
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
        (("--html=x.html", "--min_probability=1.1"), "1.1 is not between 0 and 1"),
        (("--html=x.parquet",), "--html x.parquet is not a local .html file"),
        (("--geojson=gs://b/x.geojson",), "--geojson gs://b/x.geojson is not a local .geojson file"),
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
