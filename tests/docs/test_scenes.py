"""The commands of docs/scenes.md, docs/map.md and docs/stac.md do what the pages say, as they are written there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from rasterio.transform import Affine

from model.synthetic import __main__ as synthetic
from pipelines import cli, storage
from pipelines.inference.bundle import Description, load_bundle, seal_bundle
from pipelines.storage import stores
from tests import ROOT, outputs
from tests.scene_files import UTM, samples, write_scene
from tools.emulators import Emulator, environment

markdown_it = pytest.importorskip(
    "markdown_it", reason="markdown-it-py is not installed: pip install 'scenetags[test]'"
)

LABELS = ("road", "habitation", "clear")
BUCKET = "results"
EAST = UTM @ Affine.translation(90_000, 0)
"""A scene 2.5 degrees further east, at 60.5 degrees west."""
COLOURS = ("red", "green", "blue")
VIRTUAL = "\n".join(
    (
        '<VRTDataset rasterXSize="256" rasterYSize="256">',
        *(
            f'<VRTRasterBand dataType="UInt16" band="{number}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">bands/{name}.tif</SourceFilename></SimpleSource></VRTRasterBand>'
            for number, name in enumerate(reversed(COLOURS), 1)
        ),
        "</VRTDataset>",
    )
)


@pytest.fixture
def folder(bundle_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a folder with a bundle that knows the tags that the pages name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle_path, "bundle")
    known = load_bundle(bundle_path)
    seal_bundle(
        tmp_path / "bundle",
        Description(
            name="amazon",
            labels=LABELS,
            thresholds=known.thresholds,
            image_size=known.image_size,
            resize_filter=known.resize_filter,
            training={},
            metrics={},
            versions={},
        ),
    )
    return tmp_path


@pytest.fixture
def results(emulators: Mapping[str, Emulator], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the bucket that the page of the map names."""
    host = emulators["gs"].host
    for name, value in environment("gs", host).items():
        monkeypatch.setenv(name, value)
    stores.open_store.cache_clear()
    body = json.dumps({"name": BUCKET}).encode()
    urllib.request.urlopen(f"http://{host}/storage/v1/b?project=any", body, 10).close()
    yield
    stores.open_store.cache_clear()


def blocks(page: str, language: str) -> list[str]:
    tokens = markdown_it.MarkdownIt("commonmark").parse((ROOT / "docs" / page).read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def run(command: str) -> Any:
    """Run a command as a shell would that knows these programs only."""
    programs: dict[str, Callable[[Sequence[str]], Any]] = {
        "scenetags": scenetags,
        "duckdb": ask,
        "pip": install,
        "python": python,
    }
    program, *arguments = shlex.split(command, comments=True)
    return programs[program](arguments)


def scenetags(arguments: Sequence[str]) -> None:
    assert cli.main([*arguments, *["--progress=off"] * (arguments[0] == "predict")]) == 0, arguments


def python(arguments: Sequence[str]) -> None:
    [flag, module, *others] = arguments
    assert (flag, module) == ("-m", "model.synthetic")
    assert synthetic.main(others) == 0


def ask(arguments: Sequence[str]) -> list[Any]:
    [flag, query] = arguments
    assert flag == "-c"
    return duckdb.execute(query).fetchall()


def install(arguments: Sequence[str]) -> None:
    [verb, what] = arguments
    [extra] = re.findall(r"^\.\[(\w+)\]$", what)
    assert verb == "install"
    assert f'"{extra}": [' in (ROOT / "setup.py").read_text()


def write(path: Path, bands: int, kind: str, *, width: int = 256, **options: Any) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    write_scene(path, samples(256, width, bands, kind), tile=256, **options)


def write_bands(folder: Path) -> None:
    for name in COLOURS:
        write(folder / f"{name}.tif", 1, "uint16")


def test_a_scene_can_be_tried_without_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("bundle", "demo/bundle")
    for command in blocks("scenes.md", "sh")[0].splitlines():
        run(command)
    printed = capsys.readouterr()

    [shown, *_] = blocks("scenes.md", "")
    assert plain(shown) <= plain((printed.out + printed.err).replace(f"{folder}/", "/home/you/scenetags/"))
    places = [(column, row) for row in range(0, 1024, 256) for column in range(0, 1024, 256)]
    assert sorted(outputs.rows_by_path("demo/tagged_scene")) == sorted(
        f"{folder}/demo/scene.tif#xywh={column},{row},256,256" for column, row in places
    )


def plain(text: str) -> set[str]:
    """Give the lines of a text without tags and numbers, in which models and runs differ."""
    text = re.sub(r"(?<=most frequent tags: ).*", "", text)
    return set(re.sub(r"\w+T[\d.]+Z-\w+|\d+(\.\d+)?", "#", text).splitlines())


def test_from_scenes_to_a_map(folder: Path) -> None:
    for place, transform in (("scenes/2026/a.tif", UTM), ("scenes/b.tif", EAST)):
        write(folder / place, 4, "uint16", width=512, transform=transform)
    write(folder / "scene.tif", 3, "uint8", photometric="RGB")
    write_bands(folder / "bands")
    assets = {name: {"href": f"bands/{name}.tif"} for name in COLOURS} | {"visual": {"href": "scene.tif"}}
    item = {"type": "Feature", "id": "a", "properties": {}, "assets": assets}
    (folder / "catalog.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))

    written = "".join(blocks("scenes.md", "sh")[1:]).replace("\\\n", " ")
    *commands, of_bands, of_virtual, of_clear, query = written.splitlines()
    for command in (*commands, of_bands):
        run(command)
    # Now: as files beside it, its bands would have been scenes of the first command.
    write_bands(folder / "scenes" / "bands")
    (folder / "scenes" / "c.vrt").write_text(VIRTUAL)
    run(of_virtual)
    planet = folder / "scenes" / "x_3B_AnalyticMS_SR.tif"
    write(planet, 4, "uint16", width=512)
    clear = np.zeros((8, 256, 512), np.uint8)
    clear[0, :, :256] = 1
    write_scene(planet.with_name("x_3B_udm2.tif"), clear, tile=256)
    run(of_clear)

    windows = [f"#xywh={column},0,256,256" for column in (0, 256)]
    scenes = {
        "tagged": [f"{scene}{window}" for scene in ("scenes/2026/a.tif", "scenes/b.tif") for window in windows],
        "tagged_catalog": [f"scene.tif{windows[0]}"],
        "tagged_bands": [f"bands/red.tif+green.tif+blue.tif{windows[0]}"],
        "tagged_clear": [f"scenes/x_3B_AnalyticMS_SR.tif{windows[0]}"],
        "tagged_virtual": [f"scenes/c.vrt{windows[0]}"],
    }
    for output, expected in scenes.items():
        assert sorted(path.removeprefix(f"{folder}/") for path in outputs.rows_by_path(output)) == expected
    assert "a.tif" in Path("map.html").read_text()
    assert Path("scene.png").stat().st_size > 10_000
    assert sorted(path for path, _ in run(query)) == [f"{folder}/scenes/b.tif{window}" for window in windows]


def test_what_is_written_of_a_map(folder: Path, results: None) -> None:
    values = samples(256, 768, 3, "uint8")
    values[:, :, :256] = 250
    write_scene(folder / "scene.tif", values, tile=256, photometric="RGB")
    run("scenetags predict --input scene.tif --tile 256 --model bundle/ --output tagged/")
    for path in Path("tagged").rglob("*.*"):
        storage.write(f"gs://{BUCKET}/amazon/{path.relative_to('tagged')}", path.read_bytes())

    [commands] = blocks("map.md", "sh")
    for command in commands.splitlines():
        run(command)

    [commands] = blocks("stac.md", "sh")
    for command in commands.splitlines():
        run(command)
    for catalogue in ("catalogue", f"gs://{BUCKET}/catalogue"):
        item = json.loads(storage.read(storage.normalize(f"{catalogue}/scene/scene.json")))
        assert item["assets"]["rows-1"]["href"].startswith("../../")

    of_rasters = blocks("map.md", "python")[-1]
    read: dict[str, Any] = {}
    exec(of_rasters, read)
    rows = sorted(outputs.rows("tagged"), key=lambda row: row["col_off"])
    probabilities = np.array([row["p_road"] for row in rows], np.float32)
    assert 0 < np.count_nonzero(probabilities >= 0.5) < len(rows)
    assert read["roads"].tolist() == [(probabilities >= 0.5).tolist()]
    shown = json.loads(Path("roads.geojson").read_text())["features"]
    assert len(shown) == np.count_nonzero(probabilities >= 0.5)
    for page, tags in (("map.html", LABELS), ("roads.html", LABELS[:2])):
        assert tuple(re.findall(r'"name":"(\w+)","threshold"', Path(page).read_text())) == tags
