"""The page of a map, opened from the disk in a browser."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from pipelines import map as command
from tests.browser import Browser
from tests.pipelines.results.scene_outputs import square, window, write_rows

SCENE = "/archive/north.tif"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    rows = [window(SCENE, 256 * n, 0, square(10 + n * 0.01, 20), p_road=0.2 * n, p_clear=0.9) for n in range(5)]
    write_rows(tmp_path / "out", *rows)
    assert command.main([str(tmp_path / "out"), "--html", str(tmp_path / "map.html")]) == 0
    return tmp_path / "map.html"


def test_its_address_keeps_what_is_shown_and_nothing_is_asked_of_a_network(browser: Browser, page: Path) -> None:
    browser.requests.clear()
    browser.problems.clear()
    browser.open(page, "#tag=road&threshold=0.5")
    browser.wait("location.hash.includes('at=')")
    assert browser.text("#count").startswith("2 of 5 windows")
    browser.click("#in")
    browser.run("document.getElementById('threshold').focus()")
    browser.press("ArrowRight", 39)
    browser.wait("location.hash.includes('threshold=0.51')")
    fragment = browser.run("location.hash")

    browser.open(page, fragment)

    browser.wait("location.hash.includes('at=')")
    assert browser.run("location.hash") == fragment
    assert browser.run("document.getElementById('tag').value") == "road"
    assert browser.problems == []
    assert {url.partition("#")[0] for url in browser.requests} <= {"about:blank", page.as_uri()}


def test_its_scale_bar_is_as_long_as_it_says(browser: Browser, page: Path) -> None:
    wide = 0.01 / 360 * 40_075_017 * math.cos(math.radians(20))  # metres; how wide a window is
    shown = set()
    browser.open(page)
    for zoom in ("#all", "#in", "#in", "#out", "#out", "#out", "#out"):
        browser.click(zoom)
        text = browser.text("#scale")
        figure, unit = text.split()
        assert re.fullmatch("[125]0*", figure)
        length = int(figure) * {"m": 1, "km": 1000}[unit]
        bar = browser.run("document.getElementById('scale').getBoundingClientRect().width")
        window = browser.run("0.01 / 360 * view.scale / ratio")
        assert 40 < bar <= 120
        assert length / bar == pytest.approx(wide / window, rel=0.01)
        shown.add(text)
    assert len(shown) > 2


def test_axe_finds_nothing_serious_on_a_map(axe: str, browser: Browser, page: Path) -> None:
    for dark in (False, True):
        browser.resize(1280, 900, dark)
        browser.open(page)
        assert browser.serious(axe) == []
    browser.resize(1280, 900)
