"""Strange images: which are found, in which order, and what is said where it is not known how strange they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import query
from pipelines.output.run import Run
from pipelines.records import KeptColumn
from tests.outputs import rows
from tests.pipelines.results.strange_outputs import strange, with_reference
from tests.pipelines.results.tagged_outputs import image, run_of, write, write_images

Ask = Callable[..., list[str]]
COUNT = 40


@pytest.fixture
def output(run: Run, tmp_path: Path) -> Path:
    """Write an output of images, some as strange as others; those of even numbers have a road."""
    here = with_reference(run_of(run, tmp_path / "out", ("road",)))
    redness = np.random.default_rng(0).normal(scale=9, size=COUNT).tolist()
    redness[7] = redness[3] = redness[20] = 1e6
    numbers = np.random.default_rng(1).permutation(COUNT).tolist()
    write(here, [strange(image(f"/a/{n:02}.jpg", [0.5 * (n % 2 == 0)]), redness[n]) for n in numbers])
    return tmp_path / "out"


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
    assert printed[:3] == ["novelty  path", "  1.000  /a/03.jpg", "  1.000  /a/07.jpg"]
    assert printed[3] == f"found: 2 of {COUNT} images (5.0%)"


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
        (["--strangest", "--like", "/a/03.jpg"], "argument --like: not allowed with argument --strangest"),
        (["--top", "5"], "--top 5 needs --like or --strangest"),
        (["--min_novelty", "nan"], "nan is not a number from 0 to 1, e.g. 0.99"),
        (["--max_novelty", "1.01"], "1.01 is not a number from 0 to 1, e.g. 0.99"),
    ],
)
def test_flags_about_novelty_that_mean_nothing_are_one_line(
    output: Path, words: Sequence[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(output, words, capfd)
