"""The page of a report, opened from the disk in a browser."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines import report, retag
from tests.browser import Browser
from tests.pipelines.results.report_outputs import (
    COLUMNS,
    LABELS,
    ask,
    draw_probabilities,
    failure,
    prediction,
    write_chips,
    write_output,
)
from tests.sharing import made_once

CHIPS = 2000
HOSTILE = "<script>alert(1)<\\script>\u202e\n\"'=1+1"


class Opened(NamedTuple):
    """A page in a browser, and the output that it is about."""

    browser: Browser
    page: Path
    rows: str


def _make(folder: Path) -> None:
    paths = write_chips(folder / "chips", CHIPS)
    probabilities = zip(paths, draw_probabilities(CHIPS), strict=True)
    rows = [prediction(path, p, novelty=n / CHIPS) for n, (path, p) in enumerate(probabilities)]
    rows[0] |= {"path": f"/gone/{HOSTILE}{'long' * 900}.jpg"}
    rows[0] |= {COLUMNS["road"]: 1.0, "repairs": ["grayscale"], "fingerprint": "1-1"}
    rows[1] |= {COLUMNS["road"]: 1.0, "fingerprint": "1-1"}
    failures = [failure(f"/gone/{HOSTILE}.jpg", message=HOSTILE), failure("/gone/x.jpg", "read", "OSError", "gone")]
    write_output(folder / "out", rows, failures)
    lines = [f"chip_{n}.jpg,{'road clear' if n % 3 else 'primary'}" for n in range(500)]
    (folder / "labels.csv").write_text("\n".join(["image_name,tags", *lines]))
    assert report.main([str(folder / "out"), "--html", str(folder / "plain.html")]) == 0
    labelled = ["--labels", str(folder / "labels.csv"), "--images", "100"]
    assert report.main([str(folder / "out"), "--html", str(folder / "labelled.html"), *labelled]) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "report", _make)


@pytest.fixture
def opened(browser: Browser, made: Path) -> Iterator[Opened]:
    browser.requests.clear()
    browser.problems.clear()
    browser.open(made / "plain.html", "#tag=road")
    yield Opened(browser, made / "plain.html", f"from read_parquet('{made}/out/predictions/*.parquet')")
    assert browser.problems == []
    asked = [url for url in browser.requests if not url.startswith("data:image/jpeg;base64,")]
    assert {url.partition("#")[0] for url in asked} <= {"about:blank", (made / "plain.html").as_uri()}


def count(opened: Opened, where: str) -> int:
    return int(ask(f"select count(*) {opened.rows} where {where}")[0][0])


def effect(browser: Browser) -> list[str]:
    return browser.text("#effect").splitlines()


def saved(browser: Browser, selector: str) -> Any:
    """Press a button that saves a file, and return its type and text; nothing is written."""
    browser.run(
        "window.kept = null; URL.createObjectURL = (blob) => { window.kept = blob; return '#' };"
        "HTMLAnchorElement.prototype.click = () => {};"
    )
    browser.click(selector)
    browser.wait("window.kept")
    return browser.run("window.kept.text().then((text) => [window.kept.type, text])")


def test_the_slider_counts_as_sql_does_by_key_by_number_and_by_click(opened: Opened) -> None:
    browser = opened.browser
    assert browser.text("#tag-title") == "road"
    assert effect(browser)[:2] == ["with the tag", f"{count(opened, 'p_road >= 0.2137'):,}"]

    browser.run("document.getElementById('threshold').focus()")
    for _ in range(3):
        browser.press("ArrowRight", 39)
    assert effect(browser)[1] == f"{count(opened, 'p_road >= 0.217'):,}"
    browser.press("Home", 36)
    assert effect(browser)[1] == f"{CHIPS:,}"
    browser.press("End", 35)
    assert effect(browser)[1] == f"{count(opened, 'p_road >= 1'):,}"

    for step in range(0, 1001, 77):
        browser.run(
            f"(() => {{ const one = document.getElementById('exact'); one.value = '{step / 1000}';"
            "one.dispatchEvent(new Event('input')); })()"
        )
        browser.settle()
        assert effect(browser)[1] == f"{count(opened, f'p_road >= {step / 1000}'):,}"

    browser.click("#chart")
    assert browser.text("#moved") == "1 threshold moved"
    chosen = float(browser.run("document.getElementById('exact').value"))
    assert 0.4 < chosen < 0.6
    assert effect(browser)[1] == f"{count(opened, f'p_road >= {chosen}'):,}"
    browser.click("#reset")
    assert browser.text("#moved") == ""
    assert effect(browser)[1] == f"{count(opened, 'p_road >= 0.2137'):,}"


def test_filters_show_what_they_say(opened: Opened) -> None:
    browser = opened.browser
    shown = "document.querySelectorAll('#grid li').length"
    assert browser.text("#found").startswith("600 of 602 images in the sample for road")
    assert "A sample of 600 of 2,000 images, chosen with seed 0" in browser.text("#sample")
    assert "1 without a thumbnail: the original is gone" in browser.text("#sample")
    assert "1 changed since it was tagged: its thumbnail may" in browser.text("#sample")
    assert browser.run(shown) == 48
    browser.click("#more")
    assert browser.run(shown) == 96

    browser.click('#kinds [data-kind="failed"]')
    assert browser.run(shown) == 2
    assert HOSTILE[:8] in browser.text("#grid")
    browser.click('#kinds [data-kind="just over"]')
    assert 0 < browser.run(shown) <= 12
    browser.run("document.querySelector('#kinds [data-kind=\"surest\"]').focus()")
    browser.press("Enter", 13, "\r")
    assert browser.run("document.querySelector('#kinds [aria-pressed=true]').dataset.kind") == "surest"

    browser.click('#kinds [data-kind=""]')
    for name, value in (("low", "0.5"), ("bearing", "with"), ("repair", "grayscale")):
        browser.run(
            f"(() => {{ const one = document.getElementById('{name}'); one.value = '{value}';"
            "one.dispatchEvent(new Event('input')); })()"
        )
        browser.settle()
    assert browser.run(shown) == 1
    assert browser.text("#grid").startswith("the original is gone")
    browser.open(opened.page, "#tag=road&text=CHIP_1.jpg")
    assert browser.text("#grid").split() == ["1.000", "changed", "chip_1.jpg"]
    browser.click("#grid button")
    assert "the original has changed since it was tagged" in browser.text("#viewer")


def test_an_image_is_viewed_and_left_by_key(opened: Opened) -> None:
    browser = opened.browser
    browser.run("document.querySelector('#grid button').focus()")
    browser.press("Enter", 13, "\r")
    assert browser.run("document.getElementById('viewer').open")
    assert "\\u202e\\n" in browser.text("#viewer dd")
    assert browser.run("document.querySelectorAll('#viewer tbody tr').length") == len(LABELS)
    browser.press("ArrowRight", 39)
    assert "2 of 600" in browser.text("#viewer")
    link = browser.run("document.querySelector('#viewer a').href")
    assert link.startswith("file:///")
    browser.press("Escape", 27)
    assert not browser.run("document.getElementById('viewer').open")


def test_the_address_keeps_the_state(opened: Opened) -> None:
    browser = opened.browser
    browser.click("#tags tr:nth-child(2) button")
    tag = browser.text("#tag-title")
    browser.run("document.getElementById('threshold').focus()")
    browser.press("End", 35)
    browser.click("#linear")
    browser.wait("location.hash.includes('linear=1') && location.hash.includes('t.')")
    fragment = browser.run("location.hash")
    before = browser.run("document.getElementById('effect').innerText")

    browser.open(opened.page, fragment)

    assert browser.text("#tag-title") == tag
    assert browser.run("document.getElementById('effect').innerText") == before
    assert browser.run("document.getElementById('linear').checked")


def test_what_is_shown_is_saved(opened: Opened) -> None:
    browser = opened.browser
    browser.run("document.getElementById('threshold').focus()")
    browser.press("End", 35)
    kind, text = saved(browser, "#save")
    assert kind == "application/json"
    assert json.loads(text) == {"clear": 0.5, "primary": 0.21, "road": 1, "=water": 0.168}

    _, text = saved(browser, "#tags-csv")
    # What begins like a formula is text.
    rows = {row["tag"]: row for row in csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))}
    assert set(rows) == {"clear", "primary", "road", "'=water"}
    assert (rows["road"]["moved threshold"], int(rows["road"]["images at it"])) == ("1", count(opened, "p_road >= 1"))
    _, text = saved(browser, "#chart-csv")
    bins = [int(row["images"]) for row in csv.DictReader(io.StringIO(text))]
    assert (len(bins), sum(bins)) == (1001, CHIPS)
    _, text = saved(browser, "#novelty-csv")
    bins = [int(row["images"]) for row in csv.DictReader(io.StringIO(text))]
    assert (len(bins), sum(bins)) == (100, CHIPS)
    _, text = saved(browser, "#failures-csv")
    assert len(list(csv.reader(io.StringIO(text)))) == 3
    browser.click('#kinds [data-kind="just over"]')
    for name in ("novelty", "tags", "chart", "images", "together"):
        kind, text = saved(browser, f"#{name}-png")
        assert (kind, text[1:4]) == ("image/png", "PNG"), name


def test_thresholds_that_are_saved_are_those_that_retag_takes(opened: Opened, tmp_path: Path) -> None:
    browser = opened.browser
    browser.open(opened.page, "#tag=road&t.road=0.35&t.=water=0.9")
    text = saved(browser, "#tags-csv")[1].removeprefix("\ufeff")
    counted = {row["tag"]: row["images at it"] for row in csv.DictReader(io.StringIO(text))}
    (tmp_path / "thresholds.json").write_text(saved(browser, "#save")[1])
    shutil.copytree(opened.page.parent / "out", tmp_path / "out")

    assert retag.main([str(tmp_path / "out"), "--thresholds", str(tmp_path / "thresholds.json")]) == 0

    rows = f"from read_parquet('{tmp_path}/out/predictions/*.parquet')"
    found = ask(f"select tag, count(*) from (select unnest(tags) as tag {rows}) group by tag")
    assert {("'" if tag.startswith("=") else "") + tag: str(images) for tag, images in found} == counted


def test_labels_are_compared_at_the_moved_threshold(browser: Browser, made: Path) -> None:
    browser.open(made / "labelled.html", "#tag=road&t.road=0.35&kind=missed")

    told = dict(zip(*[iter(effect(browser))] * 2, strict=True))
    number = "regexp_extract(path, 'chip_([0-9]+)', 1)::int"
    known = f"from read_parquet('{made}/out/predictions/*.parquet') where path like '%chip_%' and {number} < 500"
    [(hits, bearing, having)] = ask(
        f"select count(*) filter (p_road >= 0.35 and {number} % 3 <> 0), count(*) filter (p_road >= 0.35), "
        f"count(*) filter ({number} % 3 <> 0) {known}"
    )
    assert told["precision"] == f"{hits / bearing:.3f}"
    assert told["recall"] == f"{hits / having:.3f}"
    assert told["F2"] == f"{5 * hits / (4 * having + bearing):.3f}"
    assert browser.run("[...document.querySelectorAll('#grid .name')].every((one) => one.innerText.endsWith('missed'))")
    assert browser.run("document.querySelectorAll('#grid li').length") > 5


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(width: int, browser: Browser, made: Path) -> None:
    browser.resize(width, 844, dark=True)
    browser.open(made / "labelled.html")

    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 27)"
    browser.resize(1280, 900)


def test_axe_finds_nothing_serious_in_a_report(axe: str, browser: Browser, made: Path) -> None:
    for dark in (True, False):
        browser.resize(1280, 900, dark)
        browser.open(made / "labelled.html", "#tag=road&t.road=0.35&kind=missed")
        assert browser.serious(axe) == []
    browser.click("#grid button")
    assert browser.serious(axe) == []
