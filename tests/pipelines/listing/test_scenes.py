"""What is cut into windows, what is left whole, and what is refused."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from pipelines import storage
from pipelines.images.rendering import NO_RENDERING, Rendering, rendering_of
from pipelines.listing.lookup import refer
from pipelines.listing.scenes import CutSettings, Cutter, cut_scenes
from pipelines.records import Failure, ImageRef, Listed
from pipelines.scenes.grid import Grid
from pipelines.supervision import interruption
from tests.image_files import encode, picture
from tests.scene_files import samples, write_scene

SHOWN = Rendering((3, 2, 1), ((0, 2500),) * 3)


def cut(*paths: Path, rendering: Rendering = SHOWN, most: int = 64_000_000) -> list[Listed]:
    return list(cut_scenes([refer(str(path)) for path in paths], CutSettings(Grid(64, 64), rendering, most)))


def test_windows_follow_in_the_place_of_their_scene(tmp_path: Path) -> None:
    first = write_scene(tmp_path / "a.tif", samples(64, 128))
    chip = tmp_path / "b.png"
    chip.write_bytes(encode(picture(300, 300), "png"))
    last = write_scene(tmp_path / "c.TIFF", samples(64, 64))

    assert [item.path for item in cut(first, chip, last)] == [
        f"{first}#xywh=0,0,64,64",
        f"{first}#xywh=64,0,64,64",
        str(chip),
        f"{last}#xywh=0,0,64,64",
    ]


def test_a_tiff_is_cut_if_it_says_where_it_lies_or_is_larger_than_a_window(tmp_path: Path) -> None:
    plain = write_scene(tmp_path / "plain.tif", samples(64, 64), transform=None)
    large = write_scene(tmp_path / "large.tif", samples(65, 64), transform=None)
    placed = write_scene(tmp_path / "placed.tif", samples(64, 64))

    assert [isinstance(item, ImageRef) and item.window is not None for item in cut(plain, large, placed)] == [
        *(False, True, True, True)
    ]


def test_a_file_that_is_no_tiff_is_left_to_its_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(encode(picture(300, 300), "png"))
    assert [item.path for item in cut(path)] == [str(path)]


def broken(path: Path, kind: str) -> None:
    """Write a scene that cannot be cut."""
    values = samples(100, 100)
    if kind == "cut off":
        write_scene(path, values)
        path.write_bytes(path.read_bytes()[:100])
    elif kind == "complex":
        write_scene(path, values.astype("complex64"))
    elif kind == "turned":
        image = Image.fromarray(picture(100, 100))
        image.save(path, tiffinfo={274: 6})
    elif kind == "one strip":
        write_scene(path, samples(100, 100, 3, "uint8"), photometric="RGB", compress="lzw", blockysize=100)
    elif kind == "bomb":
        size = {"width": 1 << 21, "height": 1 << 20, "count": 3, "dtype": "uint8", "photometric": "RGB"}
        tiles = {"tiled": True, "blockxsize": 1 << 14, "blockysize": 1 << 10, "SPARSE_OK": "TRUE"}
        with rasterio.open(path, "w", driver="GTiff", **size, **tiles):
            pass
    else:
        write_scene(path, samples(100, 100, 5))


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("cut off", "DamagedImageError", "truncated TIFF header"),
        ("complex", "UnsupportedImageError", "complex"),
        ("turned", "UnsupportedImageError", "scene whose orientation tag is 6"),
        ("one strip", "ImageTooLargeError", "rewrite it in tiles"),
        ("bomb", "ImageTooLargeError", "about 536,870,912 windows, and the limit is 10,000,000"),
    ],
)
def test_a_scene_that_cannot_be_cut_is_one_failure(kind: str, error: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    broken(path, kind)
    [failure] = cut(path, most=9_000 if kind == "one strip" else 64_000_000)
    assert isinstance(failure, Failure)
    assert (failure.path, failure.stage, failure.error) == (str(path), "decode", error)
    assert reason in failure.message


@pytest.mark.parametrize(
    ("bands", "flag"), [(1, "--stretch LOW:HIGH"), (4, "--bands and --stretch LOW:HIGH, or --product")]
)
def test_a_deep_scene_needs_flags(bands: int, flag: str, tmp_path: Path) -> None:
    """Otherwise a bright part would be shown, and a dark one refused."""
    values = np.full((bands, 100, 100), 60_000, np.uint16)
    values[:, ::2] = 100
    [failure] = cut(write_scene(tmp_path / "scene.tif", values), rendering=NO_RENDERING)
    assert isinstance(failure, Failure)
    assert failure.error == "UntrustedColoursError"
    assert failure.message.endswith(f"; give {flag}")


@pytest.mark.parametrize("kind", ["int8", "uint32", "float64", "complex64"])
@pytest.mark.parametrize("rendering", [NO_RENDERING, SHOWN], ids=str)
def test_samples_that_are_not_read_are_refused_with_how_to_convert_them(
    rendering: Rendering, kind: str, tmp_path: Path
) -> None:
    [failure] = cut(write_scene(tmp_path / "scene.tif", samples(100, 100, 4).astype(kind)), rendering=rendering)
    assert isinstance(failure, Failure)
    assert ("; convert them, e.g. with gdal_translate -ot Float32" in failure.message) == (kind != "complex64")


def test_a_scene_of_too_many_tiles_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.images.tiff.directories._MOST_VALUES", 10)
    [failure] = cut(write_scene(tmp_path / "scene.tif", samples(100, 100), tile=16))
    assert isinstance(failure, Failure)
    assert failure.message.endswith("the limit is 10; rewrite it in larger tiles, e.g. with gdal_translate -of COG")


@pytest.mark.parametrize(
    ("product", "remedy"),
    [
        ("sentinel-2-l2a", "add --bands 1,1,1 to show its only band as gray"),
        ("planet-analytic-sr", "give --stretch LOW:HIGH, omit --product"),
        ("naip", "give --stretch LOW:HIGH, omit --product"),
    ],
)
def test_the_only_band_of_a_deep_scene_is_not_shown_as_that_of_a_product(
    product: str, remedy: str, tmp_path: Path
) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(100, 100, 1))
    [failure] = cut(path, rendering=rendering_of(product)._replace(stretch=((0, 3000),) * 3))
    assert isinstance(failure, Failure)
    assert failure.message.endswith(f"how bright white is; {remedy}")


def test_a_file_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(100, 100))
    listed = refer(str(path))
    path.unlink()
    [failure] = cut_scenes([listed], CutSettings(Grid(64, 64), SHOWN, 64_000_000))
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.error) == ("read", "FileNotFoundError")


def test_a_scene_that_is_given_up_because_the_run_is_stopped_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_time: None
) -> None:
    opening, stopped = threading.Event(), threading.Event()

    def give_up(*_: object) -> None:
        opening.set()
        assert stopped.wait(20)
        raise storage.TransientError(5, "the server does not answer")

    monkeypatch.setattr("pipelines.listing.scenes.open_scene", give_up)
    cutter = Cutter(CutSettings(Grid(64, 64), SHOWN, 1), print)
    with interruption.deferred(), closing(cutter):
        assert list(cutter.put(refer(str(write_scene(tmp_path / "scene.tif", samples(64, 64)))))) == []
        assert opening.wait(20)
        signal.raise_signal(signal.SIGTERM)
        stopped.set()
        with pytest.raises(interruption.InterruptedRunError):
            list(cutter.drain())


def test_overviews_and_further_images_are_not_cut(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(200, 200), tile=64)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    assert len(cut(path)) == 16


def test_failures_pass_through(tmp_path: Path) -> None:
    failure = refer(str(tmp_path / "missing.tif"))
    assert list(cut_scenes([failure], CutSettings(Grid(64, 64), SHOWN, 1))) == [failure]


def test_a_file_that_is_named_like_a_window_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.tif#xywh=0,0,64,64"
    path.write_bytes(encode(picture(), "png"))
    [failure] = cut(path)
    assert isinstance(failure, Failure)
    assert (failure.path, failure.error) == (f"/./{str(path)[1:]}", "ValueError")


def test_a_window_is_not_found_as_a_file(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", samples(64, 64))
    failure = refer(f"{path}#xywh=0,0,64,64")
    assert isinstance(failure, Failure)
    assert (failure.error, failure.message) == (
        "FileNotFoundError",
        "no file, but the window of a scene: list the scene",
    )
