"""Masks that GDAL writes next to scenes, in files of their own, say which pixels hold data."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from pipelines import storage
from pipelines.archives.packed import pack, unpack
from pipelines.images import DecodeSettings
from pipelines.images.limits import Limits
from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, cut_scenes
from pipelines.reading.ahead import LookAhead
from pipelines.reading.source import ImageSource
from pipelines.records import Empty, Failure, Image, ImageRef, Listed
from pipelines.scenes.grid import Grid, without_masks
from pipelines.storage import local
from tests.conftest import Bucket
from tests.scene_files import samples, write_scene

TILE = Grid(64, 64)
MOST = 64_000_000
DECODING = DecodeSettings(48, "bilinear", MOST)

VALID = np.zeros((64, 192), np.bool_)
VALID[:, :90] = True
"""All of the first window, less than half of the second, and nothing of the third."""


def write(path: Path, valid: NDArray[np.bool_] = VALID, **options: Any) -> Path:
    """Write a scene, and let GDAL write its mask next to it."""
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        height, width = valid.shape
        write_scene(path, samples(height, width, 3, "uint8"), tile=64, photometric="RGB", **options)
        with rasterio.open(path, "r+") as file:
            file.write_mask(valid)
    assert mask_of(path).exists()
    return path


def mask_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.msk")


def cut(path: Path | str, grid: Grid = TILE, rendering: Rendering = NO_RENDERING) -> list[Listed]:
    return list(cut_scenes([refer(str(path))], CutSettings(grid, rendering, MOST)))


def read(listed: Sequence[Listed], grid: Grid = TILE) -> list[Image | Failure | Empty]:
    with closing(LookAhead(ImageSource(DECODING, Limits(), 2, grid=grid), 4)) as ahead:
        return list(ahead.read(listed))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"interleave": "band"}, {"compress": "deflate"}], ids=str)
def test_a_mask_next_to_a_scene_says_which_pixels_hold_data(options: dict[str, Any], tmp_path: Path) -> None:
    whole, partly, none = read(cut(write(tmp_path / "scene.tif", **options)), TILE._replace(min_valid=0.4))
    assert isinstance(whole, Image)
    assert whole.repairs == ()
    assert isinstance(partly, Image)
    assert partly.repairs == ("no_data_kept",)
    assert isinstance(none, Empty)


def test_a_mask_next_to_a_jpeg2000_says_it_as_well(tmp_path: Path) -> None:
    tiff, path = write(tmp_path / "scene.tif"), tmp_path / "scene.jp2"
    rasterio.shutil.copy(tiff, path, driver="JP2OpenJPEG")
    mask_of(tiff).rename(mask_of(path))
    assert [type(item) for item in read(cut(path))] == [Image, Empty, Empty]


def test_a_mask_in_the_file_counts_rather_than_one_next_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif")
    beside = mask_of(path).read_bytes()
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        mask_of(path).unlink()
        with rasterio.open(path, "r+") as file:
            file.write_mask(~VALID)
    mask_of(path).write_bytes(beside)
    assert [type(item) for item in read(cut(path))] == [Empty, Image, Image]


def test_a_mask_in_a_bucket_is_read_there(bucket: Bucket, tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif")
    for file in (path, mask_of(path)):
        storage.write(f"{bucket.path}/{file.name}", file.read_bytes())
    assert [type(item) for item in read(cut(f"{bucket.path}/scene.tif"))] == [Image, Empty, Empty]


def test_windows_change_with_the_mask_that_is_next_to_their_scene(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif")
    first, second = cut(path), cut(write_mask(path, np.ones((64, 192), np.uint8)))
    mask_of(path).unlink()
    versions = [listed[0].fingerprint for listed in (first, second, cut(path))]
    assert len(set(versions)) == 3
    assert {without_masks(version) for version in versions} == {refer(str(path)).fingerprint}


def write_mask(path: Path, values: NDArray[Any]) -> Path:
    """Write any TIFF in the place of the mask of a scene, marked as GDAL marks one."""
    write_scene(mask_of(path), values[np.newaxis] if values.ndim == 2 else values, transform=None)
    with rasterio.open(mask_of(path), "r+") as file:
        file.update_tags(INTERNAL_MASK_FLAGS_1="2")
    return path


@pytest.mark.parametrize("flags", [{}, {"INTERNAL_MASK_FLAGS_1": "0"}, {"OTHER": "2"}], ids=str)
def test_what_gdal_does_not_take_for_a_mask_is_none(flags: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif")
    write_scene(mask_of(path), np.zeros((1, 64, 192), np.uint8), transform=None)
    with rasterio.open(mask_of(path), "r+") as file:
        file.update_tags(**flags)
    with rasterio.open(path) as file:
        assert flags.get("INTERNAL_MASK_FLAGS_1") or file.dataset_mask().all()
    [failure] = cut(path)
    assert isinstance(failure, Failure)
    assert failure.message == (
        "scene.tif.msk: no mask of a scene, which has INTERNAL_MASK_FLAGS_1 among its metadata; write it with GDAL or "
        "rasterio, or rename it if it is none"
    )


def test_a_mask_that_is_replaced_while_its_scene_is_read_is_a_failure(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif")
    listed = cut(path)
    write_mask(path, np.ones((64, 192), np.uint8))
    failures = read(listed)
    assert {failure.message for failure in failures if isinstance(failure, Failure)} == {
        "scene.tif.msk: the file has changed since it was listed; run the same command again"
    }
    assert len(failures) == 3


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (np.ones((32, 96), np.uint8), "mask of 96 x 32 pixels for a scene of 192 x 64"),
        (np.ones((3, 64, 192), np.uint8), "no mask of a scene, which is a tiff 1x8 or tiff 1x1, but tiff 3x8"),
        (b"\x89PNG\r\n\x1a\n", "no mask of a scene, which is a TIFF, but PNG"),
        (b"II*\0\x08\0\0\0", "truncated TIFF header"),
        (b"", "empty file"),
    ],
    ids=["size", "bands", "format", "damage", "nothing"],
)
def test_a_file_that_is_named_like_a_mask_and_is_none_is_a_failure(
    written: NDArray[Any] | bytes, reason: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "scene.tif")
    if isinstance(written, bytes):
        mask_of(path).write_bytes(written)
    else:
        mask_of(path).unlink()
        write_mask(path, written)
    [failure] = cut(path)
    assert isinstance(failure, Failure)
    assert failure.message.startswith(f"scene.tif.msk: {reason}")


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.EIO, Failure), (errno.ESTALE, Failure), (errno.EACCES, ImageRef), (errno.ENAMETOOLONG, ImageRef)],
    ids=["disk", "network", "forbidden", "long"],
)
def test_a_mask_that_cannot_be_looked_up_now_is_not_taken_for_one_that_is_not_there(
    code: int, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "scene.tif")
    stat = os.stat

    def fail(name: Any, *others: Any, **named: Any) -> os.stat_result:
        if str(name).endswith(".msk"):
            raise OSError(code, "no answer")
        return stat(name, *others, **named)

    monkeypatch.setattr(os, "stat", fail)
    monkeypatch.setattr(local, "SECONDS_BETWEEN_ATTEMPTS", (0, 0))
    listed = cut(path)
    assert {type(item) for item in listed} == {kind}
    if isinstance(listed[0], Failure):
        assert (listed[0].stage, listed[0].error) == ("read", "TransientError")
        assert listed[0].fingerprint == "", "rows of windows of another version must stay"


def test_a_mask_that_is_a_link_to_nothing_is_not_taken_for_one_that_is_not_there(tmp_path: Path) -> None:
    path, elsewhere = write(tmp_path / "scene.tif"), tmp_path / "elsewhere"
    mask_of(path).rename(elsewhere)
    mask_of(path).symlink_to(elsewhere)
    assert [type(item) for item in read(cut(path))] == [Image, Empty, Empty]
    elsewhere.unlink()
    [failure] = cut(path)
    assert isinstance(failure, Failure)
    assert failure.message == "scene.tif.msk is a link to a file that is not there"
    assert failure.fingerprint == "", "rows of windows of another version must stay"


def test_percentiles_are_of_what_a_mask_next_to_a_scene_shows(tmp_path: Path) -> None:
    """Not of its overviews, in which nothing is hidden."""
    values, path = samples(800, 1400, 4), tmp_path / "scene.tif"
    values[:, :, 700:] = 60_000
    write_scene(path, values, tile=64)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2])
    valid = np.zeros((800, 1400), np.uint8)
    valid[:, :700] = 255
    write_mask(path, valid)
    rendering = Rendering((3, 2, 1), percentiles=((0, 100),) * 3)
    [window, *_] = cut(path, rendering=rendering)
    assert isinstance(window, ImageRef)
    assert window.window
    assert "60000" not in window.window.rendering


def test_what_is_packed_keeps_its_mask(tmp_path: Path) -> None:
    [window, *_] = cut(write(tmp_path / "scene.tif"))
    assert isinstance(window, ImageRef)
    assert window.mask
    assert list(unpack(pack([(0, window)]))) == [(0, window)]
