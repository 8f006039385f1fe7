"""Planet's usable data masks: windows that are not clear are left out, and a mask that is missing is a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine, from_origin

from pipelines.images.rendering import Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.records import Failure, ImageRef, Listed
from pipelines.scenes.grid import DROP, PAD, Grid
from pipelines.scenes.udm2 import usable_path
from tests.scene_files import UTM, samples, write_scene

SHOWN = Rendering((3, 2, 1), ((0, 2500),) * 3)
NAME, MASK = "20220522_102231_1038_3B_AnalyticMS_SR_clip.tif", "20220522_102231_1038_3B_udm2_clip.tif"


TURNED = Affine(0, UTM.a, UTM.c, UTM.e, 0, UTM.f)


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        (NAME, MASK),
        ("20190109_015005_1020_3B_AnalyticMS.tif", "20190109_015005_1020_3B_udm2.tif"),
        ("a_3B_AnalyticMS_SR_8b_harmonized_clip.tif", "a_3B_udm2_clip.tif"),
        ("a_3B_AnalyticMS_8b.tif", "a_3B_udm2.tif"),
        ("a_3B_Visual_clip.tif", "a_3B_udm2_clip.tif"),
        ("composite.tif", "composite_udm2.tif"),
    ],
)
def test_a_mask_is_named_as_planet_names_it(name: str, mask: str) -> None:
    assert usable_path(f"gs://archive/AnalyticMS_SR/{name}") == f"gs://archive/AnalyticMS_SR/{mask}"


def cut(path: Path, grid: Grid) -> list[Listed]:
    return list(cut_scenes([refer(str(path))], CutSettings(grid, SHOWN, 64_000_000)))


def write(folder: Path, clear: NDArray[Any], **options: Any) -> Path:
    height, width = clear.shape
    values = np.zeros((8, height, width), "uint8")
    values[0], values[1:] = clear, 1
    write_scene(folder / MASK, values, **options)
    return write_scene(folder / NAME, samples(height, width), tile=64)


@pytest.mark.parametrize("grid", [Grid(64, 64), Grid(64, 40, edge=PAD), Grid(100, 30, edge=DROP)], ids=str)
@pytest.mark.parametrize(
    "options",
    [{"tile": 128, "compress": "lzw"}, {"interleave": "band", "compress": "deflate"}, {"blockysize": 5}],
    ids=str,
)
def test_windows_know_which_share_of_them_is_clear(grid: Grid, options: dict[str, Any], tmp_path: Path) -> None:
    clear = np.random.default_rng(0).random((170, 210)) < np.linspace(0, 1, 210)
    path = write(tmp_path, clear, **options)
    refs = cut(path, grid._replace(clear=0.5))
    assert len(refs) == len(cut(path, grid))
    for ref in refs:
        assert isinstance(ref, ImageRef)
        assert ref.window
        _, column, row, width, height, *_ = ref.window
        expected = np.count_nonzero(clear[row : row + height, column : column + width]) / (width * height)
        assert ref.window.clear == expected


def test_a_window_has_another_identity_once_the_mask_is_another(tmp_path: Path) -> None:
    grid = Grid(64, 64, clear=0.5)
    before, without = cut(write(tmp_path, np.ones((64, 64))), grid), cut(tmp_path / NAME, Grid(64, 64))
    write_scene(tmp_path / MASK, np.zeros((8, 64, 64), "uint8"), compress="lzw")
    fingerprints = [ref.fingerprint for [ref] in (before, without, cut(tmp_path / NAME, grid))]
    assert len(set(fingerprints)) == 3


def other_mask(kind: str, folder: Path) -> None:
    path, values = folder / MASK, np.ones((8, 64, 64), "uint8")
    if kind == "missing":
        path.unlink()
    elif kind == "damaged":
        path.write_bytes(path.read_bytes()[:900])
    elif kind == "another size":
        write_scene(path, values[:, :60])
    elif kind == "elsewhere":
        write_scene(path, values, transform=from_origin(500_003, 9_000_000, 3, 3))
    elif kind == "turned":
        # By a quarter about the middle, and mirrored: two opposite corners stay.
        write_scene(path, values, transform=TURNED)
    elif kind == "another system":
        write_scene(path, values, crs="EPSG:32721")
    elif kind == "udm1":
        write_scene(path, values[:1])
    else:
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("cloud", *[None] * 7)


def test_the_only_strip_of_a_mask_may_be_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.scenes.sampling._MOST_BLOCK", 4000)
    path = write(tmp_path, np.ones((64, 64)), blockysize=64, compress="lzw")
    [failure] = cut(path, Grid(64, 64, clear=0.5))
    assert isinstance(failure, Failure)
    assert f"{MASK}: strips of 4,096 pixels: more than 4,000 are not decoded at once" in failure.message


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", f"scene without its usable data mask, {MASK}; fetch it, or omit --mask"),
        ("damaged", f"{MASK}: truncated"),
        ("another size", f"{MASK}: mask of 64 x 60 pixels for a scene of 64 x 64"),
        ("elsewhere", "mask that is not on the grid of its scene"),
        ("turned", "mask that is not on the grid of its scene"),
        ("another system", "mask that is not on the grid of its scene"),
        ("udm1", "no usable data mask of Planet's, which is a tiff 8x8"),
        ("names", "its first band is named 'cloud', not clear"),
    ],
)
def test_a_mask_that_is_missing_or_another_is_a_failure(kind: str, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path, np.ones((64, 64)))
    other_mask(kind, tmp_path)
    [failure] = cut(path, Grid(64, 64, clear=0.5))
    assert isinstance(failure, Failure)
    assert reason in failure.message
