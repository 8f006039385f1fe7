"""Strange images in `query` and `report`: which there are, and what is said where nobody knows how strange they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ddl, query, report, retag, stac, storage
from pipelines import map as map_command
from pipelines.output.run import Run
from pipelines.records import KeptColumn
from tests.browser import Browser
from tests.outputs import rows
from tests.pipelines.results.strange_outputs import strange, with_reference, write_strange
from tests.pipelines.results.tagged_outputs import image, run_of, window, with_grid, write, write_images

Ask = Callable[..., list[str]]
COUNT = 40


@pytest.fixture
def here(run: Run, tmp_path: Path) -> Run:
    return with_reference(run_of(run, tmp_path / "out", ("road",)))


@pytest.fixture
def output(here: Run) -> Path:
    """Write an output of images, some as strange as others; those of even numbers have a road."""
    redness = np.random.default_rng(0).normal(scale=9, size=COUNT)
    redness[[3, 7, 20]] = 255
    order = np.random.default_rng(1).permutation(COUNT).tolist()
    write_strange(here, {f"/a/{n:02}.jpg": [0.5 * (n % 2 == 0)] for n in order}, redness[order].tolist())
    return Path(here.output)


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Ask:
    """Run the command, and return the lines of what it prints."""

    def ask(output: Path, *words: str) -> list[str]:
        assert query.main([str(output), *words]) == 0
        return capfd.readouterr().out.splitlines()

    return ask


def by_novelty(output: Path) -> list[str]:
    return [row["path"] for row in sorted(rows(output), key=lambda row: (-row["novelty"], row["path"]))]


def test_the_strangest_come_first(output: Path, ask: Ask) -> None:
    expected = by_novelty(output)
    assert expected[:3] == ["/a/03.jpg", "/a/07.jpg", "/a/20.jpg"], "equally strange: in the order of their paths"
    assert ask(output, "--strangest", "--paths") == expected
    assert (
        ask(output, "road", "--strangest", "--top", "5", "--paths") == [p for p in expected if int(p[3:5]) % 2 == 0][:5]
    )
    printed = ask(output, "--strangest", "--top", "2")
    assert printed[:3] == ["novelty  path", "  0.999  /a/03.jpg", "  0.999  /a/07.jpg"]
    assert printed[3] == f"found: 2 of {COUNT} images (5.0%)"


def test_nothing_is_strange_where_nothing_was_tagged(here: Run, ask: Ask) -> None:
    write_strange(here, {}, [])
    assert ask(Path(here.output), "--strangest") == ["found: 0 of 0 images"]


def test_bounds_of_novelty_are_those_of_float32(output: Path, ask: Ask) -> None:
    one = sorted(row["novelty"] for row in rows(output))[COUNT // 2]
    found = ask(output, "--min_novelty", repr(float(one)), "--paths")
    assert sorted(found) == sorted(row["path"] for row in rows(output) if row["novelty"] >= one)
    others = ask(output, "--max_novelty", str(np.nextafter(np.float32(one), np.float32(0))), "--paths")
    assert sorted(found + others) == sorted(by_novelty(output)), "each image is on one side"
    assert ask(output, "road", "--min_novelty", "0.2", "--min", "road=0.1")[0] == "novelty   road  path"


@pytest.mark.parametrize(
    "words", [["--strangest", "--top", "6"], ["road", "--max_novelty", "0.8", "--strangest"], ["--min_novelty", "0.95"]]
)
def test_the_statement_finds_the_same(output: Path, ask: Ask, words: Sequence[str]) -> None:
    found = [row[0] for row in duckdb.execute("\n".join(ask(output, *words, "--sql"))).fetchall()]
    expected = ask(output, *words, "--paths")
    assert expected
    assert (found if "--strangest" in words else sorted(found)) == (
        expected if "--strangest" in words else sorted(expected)
    )


def test_files_of_an_earlier_version_hold_no_strange_images(output: Path, ask: Ask) -> None:
    """Their rows are neither among the strange nor among the usual ones."""
    [file] = (output / "predictions").iterdir()
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 30), file)
    pq.write_table(table.slice(30).drop_columns(["novelty"]), file.with_name("0.parquet"))
    assert len(ask(output, "--strangest", "--paths")) == 30
    assert len(ask(output, "--min_novelty", "0", "--paths")) == 30
    assert len(ask(output, "--paths")) == COUNT


def refused(output: Path, words: Sequence[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert query.main([str(output), *words]) == 2
    printed, error = capfd.readouterr()
    assert printed == ""
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("words", [["--strangest"], ["--min_novelty", "0"], ["--max_novelty", "1"]])
def test_an_output_without_novelty_says_why(
    run: Run, tmp_path: Path, words: Sequence[str], capfd: pytest.CaptureFixture[str]
) -> None:
    write_images(run_of(run, tmp_path / "out", ("road",)), {"/a.jpg": [0.5]})
    assert refused(tmp_path / "out", words, capfd).endswith(
        "out does not say how strange its images are: the model's bundle has no statistics of its training images; "
        "train a bundle with this version, on at least 100 images, and tag with it\n"
    )


def test_a_column_of_the_list_is_no_novelty(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    here = replace(run_of(run, tmp_path / "out", ("road",)), kept=(KeptColumn("novelty", "float64"),))
    one = image("/a.jpg", [0.5])
    write(here, [one._replace(ref=one.ref._replace(kept=("0.5",)))])
    assert "does not say how strange its images are" in refused(tmp_path / "out", ["--strangest"], capfd)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strangest", "--like", "/a/03.jpg"], "--strangest and --like cannot be combined; omit one of them"),
        (["--top", "5"], "--top 5 needs --like or --strangest"),
        (["--min_novelty", "nan"], "--min_novelty nan: not a number from 0 to 1"),
        (["--max_novelty", "1.01"], "--max_novelty 1.01: not a number from 0 to 1"),
    ],
)
def test_flags_about_novelty_that_mean_nothing_are_one_line(
    output: Path, words: Sequence[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(output, words, capfd)


def page_of(output: Path, *flags: str) -> Any:
    """Report an output, and return what its page holds."""
    page = output.parent / "page.html"
    assert report.main([str(output), "--html", str(page), *flags]) == 0
    [text] = re.findall('<script type="application/json" id="described">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text)


def test_a_report_counts_strange_images_and_shows_the_strangest(output: Path) -> None:
    """However few are shown, and in however many pieces the rows are read."""
    page = page_of(output, "--images", "10")
    found = rows(output)
    bins = [min(int(row["novelty"] * 100), 99) for row in found]
    assert page["novelty"]["bins"] == [bins.count(number) for number in range(100)]
    assert page["novelty"]["strange"] == sum(row["novelty"] > 0.99 for row in found)
    shown = [one for one in page["images"] if ["strangest", ""] in one["groups"]]
    assert {one["path"] for one in shown} >= {"/a/03.jpg", "/a/07.jpg", "/a/20.jpg"}
    assert all(one["novelty"] == next(row["novelty"] for row in found if row["path"] == one["path"]) for one in shown)


@pytest.mark.parametrize(
    ("count", "redness", "verdict", "told"),
    [
        (30, 0.5, "alike", "The images look like those that the model was trained on."),
        (30, 9.0, "unlike", "The images are UNLIKE those that the model was trained on (3 times the limit): "),
        (
            29,
            9.0,
            "unknown",
            "Cannot tell whether the images look like those that the model was trained on: at least 30 are needed, and "
            "29 were compared.",
        ),
    ],
)
def test_a_report_says_whether_the_images_are_like_the_training_images(
    here: Run, count: int, redness: float, verdict: str, told: str
) -> None:
    write_strange(here, {f"/{n}.jpg": [0.5] for n in range(count)}, [redness] * count)
    page = page_of(Path(here.output), "--images", "0")
    assert page["novelty"]["verdict"] == verdict
    assert told in page["novelty"]["told"]


def test_manifests_of_strangers_say_nothing_of_the_training_images(output: Path) -> None:
    [manifest] = (output / "runs").iterdir()
    described = json.loads(manifest.read_bytes())
    for changed in ({"bundle": "x"}, {"reference": [1]}, {"reference": {**described["reference"], "means": ["x"]}}):
        storage.write(str(manifest), json.dumps(described | changed).encode())
        assert page_of(output, "--images", "0")["novelty"]["verdict"] == "unknown"
    storage.write(str(manifest), json.dumps(described | {"shift": "x"}).encode())
    assert report.main([str(output), "--html", str(output.parent / "x.html")]) == 2


@pytest.mark.parametrize(("value", "code"), [(1.5, 2), (-0.1, 2), (float("nan"), 0), (None, 0)])
def test_what_no_run_writes_as_novelty_is_refused_or_none(output: Path, value: float | None, code: int) -> None:
    [file] = (output / "predictions").iterdir()
    table = pq.read_table(file)
    novelty = pa.array([value, *table.column("novelty").to_pylist()[1:]], pa.float32())
    pq.write_table(table.set_column(table.schema.get_field_index("novelty"), "novelty", novelty), file)
    page = output.parent / "page.html"
    assert report.main([str(output), "--html", str(page)]) == code
    assert code or sum(page_of(output)["novelty"]["bins"]) == COUNT - 1


def test_a_page_shows_strange_images_first_and_between_bounds(output: Path, browser: Browser) -> None:
    page_of(output)
    browser.problems.clear()
    browser.open(output.parent / "page.html")
    found = rows(output)
    strange = sum(row["novelty"] > 0.99 for row in found)
    assert f"{strange} of {COUNT} images ({strange / COUNT:.1%}" in browser.text("#strange").replace("\u00a0", "")
    browser.click("#strangest")
    names = browser.run("[...document.querySelectorAll('#grid button')].map((one) => one.title)")
    assert set(names[:3]) == {"/a/03.jpg", "/a/07.jpg", "/a/20.jpg"}
    assert names[3:] == by_novelty(output)[3:]
    browser.run(
        "for (const [id, value] of [['strange_from', 0.2], ['strange_to', 0.8]]) {"
        "element(id).value = value; element(id).dispatchEvent(new Event('input')); }"
    )
    browser.settle()
    between = sum(0.2 <= row["novelty"] <= 0.8 for row in found)
    assert between
    assert browser.text("#found").startswith(f"{between} of {COUNT} images")
    assert browser.problems == []


def test_a_page_about_an_output_without_novelty_does_not_mention_it(run: Run, tmp_path: Path, browser: Browser) -> None:
    write_images(run_of(run, tmp_path / "out", ("road",)), {"/a.jpg": [0.5]})
    assert page_of(tmp_path / "out")["novelty"] is None
    browser.open(tmp_path / "page.html")
    assert "novelty" not in browser.text("body").lower()
    assert "training images" not in browser.text("body")


def test_tagging_anew_keeps_the_novelty(output: Path, ask: Ask) -> None:
    before = {row["path"]: row["novelty"] for row in rows(output)}
    assert retag.main([str(output), "--thresholds", "0.9"]) == 0
    assert {row["path"]: row["novelty"] for row in rows(output)} == before
    assert not any(row["tags"] for row in rows(output))
    assert page_of(output, "--images", "0")["novelty"]["verdict"] == "unlike", "of the run that tagged them"


def test_tables_catalogues_and_maps_have_the_novelty(here: Run, capfd: pytest.CaptureFixture[str]) -> None:
    out = Path(here.output)
    write(with_grid(here), [strange(window("/s.tif", 256 * n, [0.5]), 7.0 * n) for n in range(2)])
    novelty = {row["path"]: row["novelty"] for row in rows(out)}

    assert ddl.main(["duckdb", str(out)]) == 0
    with duckdb.connect() as database:
        database.execute(capfd.readouterr().out)
        assert dict(database.execute("select path, novelty from predictions").fetchall()) == novelty

    assert stac.main([str(out), "--to", str(out.parent / "catalogue")]) == 0
    [item] = [one for one in (out.parent / "catalogue").rglob("*.json") if one.name != "collection.json"]
    columns = json.loads(item.read_bytes())["properties"]["table:columns"]
    [described] = [one for one in columns if one["name"] == "novelty"]
    assert described["type"] == "float32"

    assert map_command.main([str(out), "--geojson", str(out.parent / "map.geojson")]) == 0
    features = json.loads((out.parent / "map.geojson").read_bytes())["features"]
    mapped = {one["properties"]["path"]: np.float32(one["properties"]["novelty"]) for one in features}
    assert mapped == novelty
