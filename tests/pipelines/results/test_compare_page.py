"""The page of a comparison, opened from the disk in a browser."""

from __future__ import annotations

from pathlib import Path

from pipelines import compare as command
from tests.browser import Browser
from tests.pipelines.results.report_outputs import prediction, write_chips, write_output


def test_axe_finds_nothing_serious_in_a_comparison(axe: str, browser: Browser, tmp_path: Path) -> None:
    paths = [*write_chips(tmp_path / "chips", 6), f"/gone/{'long' * 50}.jpg"]
    for name, probabilities in (("a", [0.9, 0.1, 0.9, 0.1]), ("b", [0.1, 0.9, 0.9, 0.1])):
        write_output(tmp_path / name, [prediction(path, probabilities) for path in paths])
    page = tmp_path / "page.html"
    assert command.main([str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(page)]) == 0
    browser.requests.clear()
    browser.problems.clear()

    for width, dark in ((390, True), (1280, False)):
        browser.resize(width, 844, dark)
        browser.open(page)
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.serious(axe) == []

    assert browser.problems == []
    shown = {url for url in browser.requests if not url.startswith("data:image/jpeg;base64,")}
    assert shown <= {"about:blank", page.as_uri()}
