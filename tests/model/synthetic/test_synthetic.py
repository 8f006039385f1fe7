"""Chips drawn by code carry the real set's labels and its defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from model.synthetic import __main__
from model.synthetic import chips as synthetic
from model.synthetic.features import PAINTERS
from model.synthetic.scene import write_scene
from model.synthetic.scenery import Canvas, Point
from pipelines import images
from tests import ROOT

REAL_CHIPS = ROOT / "../shared/data/planet/jpg"
SOI, SOF0, DHT, SOS, DQT = 0xD8, 0xC0, 0xC4, 0xDA, 0xDB


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """List the markers of a JPEG up to its scan, with their content."""
    found, position = [(jpeg[1], b"")], 2
    while found[-1][0] != SOS:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        found.append((jpeg[position + 1], jpeg[position + 4 : end]))
        position = end
    return found


def frame_and_scan(jpeg: bytes) -> list[tuple[int, bytes]]:
    return [(marker, content) for marker, content in segments(jpeg) if marker in (SOF0, SOS)]


def drawn(number: int, size: int = 256) -> synthetic.Chip:
    return synthetic.draw_chip(np.random.default_rng((7, number)), size)


def test_the_encoder_writes_no_app_segment_and_components_0_to_3() -> None:
    jpeg = synthetic.encode_unmarked_rgba_jpeg(drawn(0).pixels)
    assert [marker for marker, _ in segments(jpeg)] == [SOI, DQT, SOF0, DHT, DHT, SOS]
    (_, frame), (_, scan) = frame_and_scan(jpeg)
    assert frame.hex() == "080100010004" + "001100" + "011100" + "021100" + "031100"
    assert scan.hex() == "04" + "0000" + "0100" + "0200" + "0300" + "003f00"


@pytest.mark.skipif(not REAL_CHIPS.is_dir(), reason="no real chips at ../shared/data/planet/jpg")
def test_a_drawn_chip_is_laid_out_as_a_real_one() -> None:
    real = (REAL_CHIPS / "train_0.jpg").read_bytes()
    ours = synthetic.encode_unmarked_rgba_jpeg(drawn(0).pixels)
    assert [marker for marker, _ in segments(ours)] == [marker for marker, _ in segments(real)]
    assert frame_and_scan(ours) == frame_and_scan(real)


def test_our_decoder_gives_back_what_was_encoded() -> None:
    pixels = drawn(3).pixels
    decoded = images.decode(synthetic.encode_unmarked_rgba_jpeg(pixels, quality=98))
    assert decoded.repairs == ("unmarked_rgba_jpeg",)
    assert np.abs(decoded.pixels.astype(int) - pixels).mean() < 1.5


def test_tensorflow_decodes_it_to_black_as_it_does_the_real_ones() -> None:
    tf = pytest.importorskip("tensorflow")
    assert not tf.io.decode_jpeg(synthetic.encode_unmarked_rgba_jpeg(drawn(0).pixels), channels=3).numpy().any()


def test_a_seed_always_writes_the_same_bytes(tmp_path: Path) -> None:
    for folder, count in (("once", 6), ("again", 6), ("fewer", 4)):
        synthetic.write_chips(tmp_path / folder, count, seed=5, size=64)
    synthetic.write_chips(tmp_path / "other", 4, seed=6, size=64)
    content = {
        folder.name: {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in tmp_path.iterdir()
    }
    assert content["once"] == content["again"]
    assert len(content["once"]) == 7
    assert all(content["once"][name] == data for name, data in content["fewer"].items() if name.endswith(".jpg"))
    assert content["fewer"]["chip_1.jpg"] != content["other"]["chip_1.jpg"]


def test_labels_go_together_as_in_the_planet_set() -> None:
    rng = np.random.default_rng(0)
    many = [synthetic.draw_labels(rng) for _ in range(3000)]
    assert frozenset().union(*many) == {label for label, _ in PAINTERS} | {"clear", "primary"}
    for labels in many:
        assert len(labels & set(synthetic.WEATHER)) == 1
        assert "cloudy" not in labels or labels == {"cloudy"}
        assert "artisinal_mine" not in labels or "water" in labels
    assert 0.85 < np.mean(["primary" in labels for labels in many]) < 0.97
    assert 0.25 < np.mean(["agriculture" in labels for labels in many]) < 0.4


@pytest.mark.parametrize(("label", "paint"), PAINTERS)
def test_every_label_can_be_seen(label: str, paint: object) -> None:
    assert callable(paint)
    canvas = Canvas(np.random.default_rng(1), 256, forest=True)
    before = canvas.planes.copy()
    paint(canvas, Point(0.5, 0.5))
    changed = (np.abs(canvas.planes - before).max(axis=0) > 25).mean()
    assert changed > 0.005, f"{label} changes {changed:.2%} of the chip"


@pytest.mark.parametrize("size", [32, 100, 512])
def test_chips_of_any_size_are_drawn(size: int) -> None:
    pixels = drawn(1, size).pixels
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("flags", [["--count", "0"], ["--size", "8"], ["--sed", "1"]])
def test_wrong_usage_is_one_line(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--output", str(tmp_path / "chips"), *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "chips").exists()


def test_a_scene_holds_its_chips_row_by_row_and_lies_where_gdal_reads_it_too(tmp_path: Path) -> None:
    with rasterio.open(write_scene(tmp_path / "new", 2, 7, size=64)) as scene:
        pixels, place, crs = scene.read(), scene.transform, scene.crs.to_epsg()
    assert np.array_equal(pixels[:, 64:, :64], np.moveaxis(drawn(2, 64).pixels, 2, 0))
    assert np.array_equal(pixels[:, :64, 64:], np.moveaxis(drawn(1, 64).pixels, 2, 0))
    assert (crs, place.a, place.e, place.b, place.d) == (32720, 3, -3, 0, 0)


def test_chips_or_a_scene_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    assert __main__.main(["--output", folder.as_uri(), "--scene", "1", "--size", "32"]) == 0
    assert capsys.readouterr().out == f"a synthetic scene of 32 x 32 px: {folder / 'scene.tif'}\n"
    assert [path.name for path in folder.iterdir()] == ["scene.tif"]
    assert __main__.main(["--output", str(folder), "--scene", "1", "--count", "1"]) == 2
