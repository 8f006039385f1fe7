"""`scenetags map --cog`: rasters lie as their scenes do, as GDAL sees both."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from pipelines import map as command
from pipelines import predict
from pipelines.results.maps import MERGES, rasters
from pipelines.results.maps.raster_files import RasterNameError, name_rasters
from pipelines.scenes.grid import Grid
from tests.pipelines.results.scene_outputs import footer, window, wkb, write_rows
from tests.pipelines.scenes import geotiffs
from tests.scene_files import UTM, samples, write_scene

ALBERS = "+proj=aea +lat_0=23 +lon_0=-96 +lat_1=29.5 +lat_2=45.5 +datum=NAD83 +units=m"
FEET = "EPSG:2263"
GRID = Grid(64, 64)
SIZE = (112, 160)


def tag(output: Path, scenes: Sequence[Path], grid: Grid = GRID, name: str = "") -> dict[tuple[str, int, int], float]:
    """Write the rows of scenes of `SIZE`, where pyproj puts them; return `p_road` by scene, column and row.

    With a name, the only scene is called so.
    """
    rows = []
    roads: dict[tuple[str, int, int], float] = {}
    for path in scenes:
        scene = name or str(path)
        with rasterio.open(path) as file:
            crs, transform = file.crs.to_string(), tuple(file.transform)[:6]
        ground = geotiffs.judge(crs)
        for row, column in itertools.product(grid.starts(SIZE[0]), grid.starts(SIZE[1])):
            width, height = grid.extent(column, SIZE[1]), grid.extent(row, SIZE[0])
            corners = [(column, row), (column, row + height), (column + width, row + height), (column + width, row)]
            ring = [ground.transform(*(Affine(*transform) @ corner)) for corner in corners]
            roads[scene, column, row] = probability = len(roads) / 100
            named = f"{scene}#xywh={column},{row},{width},{height}"
            placed = window(scene, column, row, path=named, geometry=wkb(ring), p_road=probability, p_clear=0.5)
            rows.append(placed)
    write_rows(output, *rows, metadata=footer(grid=grid.described()))
    return roads


def scene(path: Path, **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    return write_scene(path, samples(*SIZE, bands=3, kind="uint8"), **options)


def make(output: Path, *flags: str) -> int:
    return command.main([str(output), *flags])


def read(path: Path) -> NDArray[np.float32]:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


@pytest.mark.parametrize(
    ("crs", "transform", "options"),
    [
        ("EPSG:32720", UTM, {}),
        ("EPSG:4326", Affine(1e-4, 0, 10, 0, -2e-4, 50), {}),
        ("EPSG:32633", Affine(8, 6, 500_000, 6, -8, 5_000_000), {}),
        ("EPSG:32633", Affine(10, 0, 500_000, 0, 10, 5_000_000), {}),
        ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000), {"ENDIANNESS": "BIG"}),
        (ALBERS, Affine(30, 0, -1e5, 0, -30, 1.5e6), {"ENDIANNESS": "BIG"}),
        (FEET, Affine(3, 0, 980_000, 0, -3, 200_000), {}),
    ],
)
def test_a_raster_has_the_reference_system_of_its_scene_and_a_pixel_per_stride(
    crs: str, transform: Affine, options: dict[str, Any], tmp_path: Path
) -> None:
    path = scene(tmp_path / "a.tif", crs=crs, transform=transform, **options)
    roads = tag(tmp_path / "out", [path])

    assert make(tmp_path / "out", "--tag", "road", "--tag", "clear", "--cog", str(tmp_path / "x.tif")) == 0

    with rasterio.open(path) as theirs, rasterio.open(tmp_path / "x.tif") as ours:
        assert ours.crs == theirs.crs
        assert ours.transform.almost_equals(theirs.transform @ Affine.scale(64), 1e-9)
        assert (ours.dtypes, ours.descriptions) == (("float32",) * 2, ("road", "clear"))
        assert np.isnan(ours.nodata)
        assert ours.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert ours.tags()["scene"] == str(path)
        road, clear = ours.read()
    # At the right and lower edges, windows are moved back into the scene.
    at = [[roads[str(path), column, row] for column in (0, 64, 96)] for row in (0, 48)]
    for row in at:
        row[1] = (row[1] + row[2]) / 2
    np.testing.assert_allclose(road, at, rtol=1e-6)
    assert (clear == 0.5).all()


def test_a_scene_of_jpeg_2000_has_a_raster_where_gdal_puts_it(tmp_path: Path) -> None:
    values = samples(*SIZE, bands=3, kind="uint8")
    shape = {"width": SIZE[1], "height": SIZE[0], "count": 3, "dtype": "uint8", "quality": 20}
    for name, options in (("geotiff", {"GMLJP2": "NO"}), ("gml", {"GeoJP2": "NO"})):
        path = tmp_path / f"{name}.jp2"
        with rasterio.open(
            path, "w", driver="JP2OpenJPEG", crs="EPSG:32633", transform=UTM, **shape, **options
        ) as file:
            file.write(values)
            file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
        tag(tmp_path / name, [path])

        assert make(tmp_path / name, "--tag", "road", "--cog", str(tmp_path / f"{name}.tif")) == 0

        with rasterio.open(tmp_path / f"{name}.tif") as ours:
            assert (ours.crs, ours.transform) == (rasterio.CRS.from_epsg(32633), UTM @ Affine.scale(64))


def test_a_scene_of_several_files_lies_as_the_first_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bands = [scene(tmp_path / "a+b" / f"{name}.tif") for name in ("red", "green", "blue")]
    tag(tmp_path / "stack", bands[:1], name=f"{bands[0]}+green.tif+blue.tif")
    virtual = "".join(
        f'<VRTRasterBand dataType="Byte" band="{number}"><ColorInterp>{band.stem.title()}</ColorInterp><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">a+b/{band.name}</SourceFilename></SimpleSource></VRTRasterBand>'
        for number, band in enumerate(bands, 1)
    )
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="160" rasterYSize="112">{virtual}</VRTDataset>')
    tag(tmp_path / "virtual", bands[:1], name=f"{tmp_path}/a.vrt")
    tag(tmp_path / "relative", bands[:1], name="a+b/red.tif")

    for output in ("stack", "virtual", "relative"):
        assert make(tmp_path / output, "--tag", "road", "--cog", f"{output}.tif") == 0

        with rasterio.open(f"{output}.tif") as ours:
            assert (ours.crs, ours.transform) == (rasterio.CRS.from_epsg(32720), UTM @ Affine.scale(64))


def test_pixels_that_are_points_do_not_move_a_raster(tmp_path: Path) -> None:
    path = scene(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    tag(tmp_path / "out", [path])

    assert make(tmp_path / "out", "--cog", str(tmp_path / "x.tif")) == 0

    with rasterio.open(tmp_path / "x.tif") as ours:
        assert (ours.transform, ours.tags()["AREA_OR_POINT"]) == (UTM @ Affine.scale(64), "Area")


def test_each_scene_has_a_file_and_windows_that_are_missing_are_nodata(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Grid(48, 64, edge="pad")
    places = (("n/a.tif", "EPSG:32633"), ("s/a.tif", "EPSG:32733"))
    roads = tag(tmp_path / "out", [scene(tmp_path / "scenes" / name, crs=crs) for name, crs in places], grid)

    assert make(tmp_path / "out", "--tag", "road", "--cog", str(tmp_path / "cogs")) == 0

    assert capsys.readouterr().out == f"{tmp_path / 'cogs'}: 12 windows\n"
    for name, crs in places:
        path = str(tmp_path / "scenes" / name)
        rows = [[roads[path, 0, row], roads[path, 64, row], np.nan, roads[path, 128, row]] for row in (0, 64, 64)]
        with rasterio.open(tmp_path / "cogs" / name) as file:
            assert file.crs == crs
            np.testing.assert_allclose(file.read(1), rows, rtol=1e-6)


def test_a_scene_that_is_replaced_or_gone_is_told_and_the_others_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [scene(tmp_path / "scenes" / name) for name in ("a.tif", "b.tif", "c.tif", "d.tif")]
    tag(tmp_path / "out", paths)
    scene(paths[1], transform=UTM @ Affine.translation(2, 0))
    paths[2].unlink()
    write_scene(paths[3], samples(SIZE[0], SIZE[1] - 1, 3, "uint8"))

    assert make(tmp_path / "out", "--tag", "road", "--cog", str(tmp_path / "cogs")) == 3

    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'cogs'}: 6 windows",
        f"  left out: windows of scenes that cannot be read: 18, e.g. {paths[1]}: it was replaced, and its windows "
        "lie elsewhere now",
    ]
    assert [path.name for path in (tmp_path / "cogs").iterdir()] == ["a.tif"]
    paths[0].unlink()
    assert make(tmp_path / "out", "--tag", "road", "--cog", str(tmp_path / "cogs")) == 2
    assert capsys.readouterr().err == (
        f"scenetags map: {paths[0]}: No such file or directory; a raster takes its georeference from its scene, "
        "so the scene must be readable\n"
    )


def test_no_scene_and_no_other_file_is_replaced_by_a_raster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = scene(tmp_path / "scenes" / "a.tif")
    other = scene(tmp_path / "others" / "a.tif")
    before = path.read_bytes()
    tag(tmp_path / "out", [path])

    for target, said in (
        ("scenes/a.tif", "scenes/a.tif is the scene itself; choose another file or folder"),
        ("scenes", "scenes/a.tif is the scene itself; choose another file or folder"),
        ("others", "others/a.tif exists, and scenetags did not write it; choose another file or folder"),
    ):
        assert make(tmp_path / "out", "--cog", target) == 2
        assert capsys.readouterr().err == f"scenetags map: {said}\n"
    assert path.read_bytes() == other.read_bytes() == before

    for merge in MERGES:
        assert make(tmp_path / "out", "--cog", "new", "--merge", merge) == 0
        with rasterio.open("new/a.tif") as file:
            assert file.tags()["merge"] == merge


@pytest.mark.parametrize(
    ("scenes", "names"),
    [
        (["/a/x/1.tif", "/a/y/1.TIFF", "/a/2.jp2"], ["out/x/1.tif", "out/y/1.TIFF", "out/2.jp2.tif"]),
        (["gs://a/1.tif", "gs://b/1.tif"], ["out/a/1.tif", "out/b/1.tif"]),
        (["/a/../../1.tif", "/a/../../b/1.tif"], ["out/1.tif", "out/b/1.tif"]),
        (["/a/r/1.tif+/a/g/2.tif", "/a/3.tif+4.tif"], ["out/r/1.tif+2.tif", "out/3.tif+4.tif"]),
    ],
)
def test_rasters_are_named_like_scenes_and_stay_in_their_folder(scenes: list[str], names: list[str]) -> None:
    assert name_rasters(scenes, "out") == names
    with pytest.raises(RasterNameError, match="would have the raster out"):
        name_rasters(["/a/1.jp2", "/a/1.jp2.tif"], "out")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--merge=max", "--html=x.html"), "--merge needs --cog"),
        (("--cog=x.tif", "--min_probability=0.5"), "--min_probability does not apply to --cog; run the command once"),
        (("--cog=gs://bucket/x",), "--cog gs://bucket/x is neither a local .tif file nor a local folder"),
        (("--cog=x.jp2",), "--cog x.jp2 is neither a local .tif file nor a local folder"),
        (("--cog=gone/x.tif",), "--cog gone/x.tif: the folder that it is in does not exist; create it first"),
        (("--cog=x.tif",), "x.tif is one file, and there are 2 scenes; name a folder"),
        (("--cog=x",), "a raster of 3 x 2 cells and 3 tags is too large; choose fewer with --tag"),
    ],
)
def test_rasters_that_cannot_be_written_are_one_line(
    flags: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rasters, "_MOST_VALUES", 17)
    tag(tmp_path / "out", [scene(tmp_path / "scenes" / name) for name in ("a.tif", "b.tif")])

    assert make(tmp_path / "out", *flags) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "scenes"]


def test_scenes_of_relative_paths_are_found_where_they_are_now(
    bundle_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "archive").mkdir()
    write_scene(tmp_path / "archive" / "a.tif", samples(64, 128, 3, "uint8"), tile=64, photometric="RGB")
    words = [f"--input={tmp_path}/archive", f"--relative_to={tmp_path}/archive", "--tile=64"]
    assert predict.main([*words, f"--model={bundle_path}", f"--output={tmp_path}/out", "--progress=off"]) == 0

    def rasters(folder: str, *words: str) -> int:
        return command.main([f"{tmp_path}/out", f"--cog={tmp_path}/{folder}", *words])

    assert rasters("1") == 0
    (tmp_path / "archive").rename(tmp_path / "moved")
    assert rasters("2") == 2
    assert "say where they are now with --relative_to\n" in capsys.readouterr().err
    assert rasters("2", f"--relative_to={tmp_path}/moved") == 0
    assert (tmp_path / "1" / "a.tif").read_bytes() == (tmp_path / "2" / "a.tif").read_bytes()
