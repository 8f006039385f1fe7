"""`scenetags map --html`: what is on the page is what is in the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.results.maps.data import pack, unrolled
from pipelines.results.maps.footprints import read_footprints
from pipelines.results.outputs import open_output
from tests.pipelines.map.mapping import ACROSS, SCENE, Look
from tests.pipelines.results.scene_outputs import TAGS, square, window, write_rows


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
