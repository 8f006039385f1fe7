"""`scenetags map --html`: a page runs nothing of what strangers named, and reaches nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from tests.pipelines.map.mapping import Look, make
from tests.pipelines.results.scene_outputs import footer, square, window, write_rows


class Elements(HTMLParser):
    """Lists the elements of a page, and the text in each kind of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.names[-1] if self.names else "", []).append(data)


EVIL = "</script><script>alert(1)</script><img src=//x onerror=alert(1)><!--\"'&$title\u202e\n"


def test_names_of_strangers_are_text_on_the_page(look: Look, output: Path, tmp_path: Path) -> None:
    columns = {"clear": "p_clear", "bare ground": "p_bare_ground", EVIL: "p_road"}
    folder = tmp_path / "<b>out$title"
    metadata = footer(labels=list(columns), columns=columns, bundle=EVIL)
    write_rows(folder, window(f"/{EVIL}.tif", 0, 0, square(10, 20)), metadata=metadata)

    seen = look(output=folder)

    shown = EVIL.replace("\u202e\n", "\\u202e\\n")
    assert seen["tags"][-1] == shown
    assert seen["hovers"][0].startswith(f"/{shown}.tif#xywh=0,0,256,256\n")
    make(folder, "--html", str(tmp_path / "map.html"))
    page = Elements((tmp_path / "map.html").read_text())
    make(output, "--html", str(tmp_path / "other.html"))
    other = Elements((tmp_path / "other.html").read_text())
    assert page.names == other.names
    assert page.texts["title"][0] == page.texts["h1"][0] == "<b>out$title"


def test_the_page_may_run_its_own_script_and_reach_nothing(output: Path, tmp_path: Path) -> None:
    assert make(output, "--html", str(tmp_path / "map.html")) == 0

    page = (tmp_path / "map.html").read_text()
    [script] = re.findall("<script>(.*)</script>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [value for name, value in Elements(page).attributes if name == "content" and "src" in str(value)]
    assert policy is not None
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'sha256-")
    assert "img-src" not in policy
    assert not re.search("https?:|//[a-z]+[.]", page)
    assert not [name for name, _ in Elements(page).attributes if name in ("src", "href") or name.startswith("on")]


def test_a_basemap_is_the_only_thing_that_is_reached(output: Path, tmp_path: Path) -> None:
    url = "https://tiles.example:8080/{z}/{x}/{y}.png?key=a;b"
    assert make(output, "--html", str(tmp_path / "map.html"), "--basemap", url) == 0

    page = (tmp_path / "map.html").read_text()
    assert page.count("https:") == 2
    [policy] = [value for name, value in Elements(page).attributes if name == "content" and "src" in str(value)]
    assert " img-src https://tiles.example:8080; " in str(policy)
