"""Outputs, names and flags of strangers: data in a report, or one clear line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines import report as command
from tests.pipelines.results.report_outputs import (
    COLUMNS,
    LABELS,
    described,
    failure,
    footer,
    make,
    prediction,
    write_many,
    write_output,
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return write_many(tmp_path / "out")


class Elements(HTMLParser):
    """Lists the elements of a page, their attributes, and the text of its title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


EVIL = "</script><script>alert(1)</script><img src=//x onerror=alert(1)><!--\"'&$title\u202e\n"


def test_names_of_strangers_are_data_in_a_report(output: Path, tmp_path: Path) -> None:
    columns = {**COLUMNS, EVIL: "p_road"}
    del columns["road"]
    labels = [EVIL if label == "road" else label for label in LABELS]
    metadata = footer(labels=labels, columns=columns, bundle=EVIL)
    hostile = [EVIL, "=cmd|' /C calc'!A0", "long" * 1000]
    rows = [prediction(f"/gone/{name}.jpg", [0.9] * 4, tags=[EVIL], source=EVIL, repairs=[EVIL]) for name in hostile]
    write_output(tmp_path / f"<b>{EVIL[-9:]}", rows, [failure(EVIL, EVIL, EVIL, EVIL)], metadata=metadata)

    assert make(tmp_path / f"<b>{EVIL[-9:]}", tmp_path / "evil.html") == 0
    assert make(output, tmp_path / "other.html") == 0

    evil, other = (Elements((tmp_path / name).read_text()) for name in ("evil.html", "other.html"))
    assert evil.names == other.names
    page = described(tmp_path / "evil.html")
    shown = EVIL.replace("\u202e\n", "\\u202e\\n")
    assert [tag["name"] for tag in page["tags"]] == [shown if label == "road" else label for label in LABELS]
    assert page["images"][0]["path"] == f"/gone/{shown}.jpg"
    # Into the JSON of thresholds goes the label itself.
    assert EVIL in [tag["key"] for tag in page["tags"]]


def test_the_page_of_a_report_may_run_its_own_script_and_reach_nothing(output: Path, tmp_path: Path) -> None:
    assert make(output, tmp_path / "x.html") == 0

    page = (tmp_path / "x.html").read_text()
    elements = Elements(page)
    [policy] = [value for name, value in elements.attributes if name == "content" and "src" in str(value)]
    assert re.fullmatch(
        "default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'",
        str(policy),
    )
    assert [value for name, value in elements.attributes if name in ("src", "href")] == ["#images"]
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "style"]


def _break(output: Path, how: str) -> None:
    file = output / "predictions" / "a.parquet"
    if how == "half-written":
        file.write_bytes(file.read_bytes()[:-40])
    elif how == "foreign":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"x": [1]}), file)
    elif how == "of two models":
        write_output(output, [], metadata=footer(bundle="c" * 64), name="c")
    elif how == "not a number":
        write_output(output, [prediction("/gone/1.jpg", [float("nan")] * 4)], name="c")
    elif how == "without a path":
        write_output(output, [prediction("/gone/1.jpg", [0.1] * 4) | {"path": None}], name="c")
    elif how == "unknown tag":
        write_output(output, [prediction("/gone/1.jpg", [0.1] * 4, tags=["x"])], name="c")
    elif how == "bad manifest":
        (output / "runs" / "a.json").write_text('{"run": "x", "status": "done", "inputs": "many"}')
    elif how == "empty":
        for one in output.rglob("*.parquet"):
            one.unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("half-written", "a.parquet is damaged or not a Parquet file"),
        ("foreign", "scenetags did not write"),
        ("of two models", "holds predictions made with several models; keep each in a folder of its own"),
        ("not a number", "holds a value that is not a probability, so scenetags did not write it"),
        ("without a path", "holds a row without a path"),
        ("unknown tag", "holds a tag that is not a label of its model"),
        ("bad manifest", "a.json is not a manifest"),
        ("empty", "has no predictions/*.parquet"),
    ],
)
def test_an_output_that_cannot_be_read_as_a_whole_is_one_line(
    how: str, said: str, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _break(output, how)

    assert make(output, tmp_path / "x.html") == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["gone", "--html=x.html"], "no folder at gone; did you mean "),
        (["out"], "the following arguments are required: --html"),
        (["out", "--html=x.pdf"], "--html x.pdf is not a .html file"),
        (["out", "--html=hdfs://b/x.html"], "--html hdfs://b/x.html cannot be written to; give a local path"),
        (["out", "--html=gone/x.html"], "--html gone/x.html: the folder does not exist; create it first"),
        (["out", "--html=x.html", "--images=2000"], "--images 2000: not a whole number from 0 to 1,000"),
        (["out", "--html=x.html", "--labels=gone.csv"], "gone.csv: No such file or directory"),
    ],
)
def test_flags_of_a_report_that_cannot_be_carried_out_are_one_line(
    flags: Sequence[str],
    said: str,
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert command.main(flags) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
