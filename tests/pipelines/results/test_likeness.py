"""Images that look most like one: the angles between embeddings, and what the command makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines import query as command
from pipelines.output.run import Run
from tests.pipelines.results.tagged_outputs import image, run_of, write

SIZE = 8
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def embeddings() -> Mapping[str, NDArray[np.float16]]:
    """Draw embeddings, as float16 holds them; one image has no feature at all, and two are the same."""
    numbers = np.random.default_rng(0).random((40, SIZE)).astype(np.float16)
    numbers[7], numbers[9] = 0, numbers[8]
    return {f"/archive/{place:02}.jpg": row for place, row in enumerate(numbers)}


@pytest.fixture
def output(run: Run, tmp_path: Path, embeddings: Mapping[str, NDArray[np.float16]]) -> Path:
    """Write an output of them; those of even numbers have a road."""
    here = replace(run_of(run, tmp_path / "out", ("road",)), embedding_size=SIZE)
    write(
        here,
        [
            image(path, [0.5 * (int(path[-5]) % 2 == 0)])._replace(embedding=embedding)
            for path, embedding in embeddings.items()
        ],
    )
    return tmp_path / "out"


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Ask:
    def ask(output: object, *words: str) -> tuple[int, str, str]:
        code = command.main([str(output), *words])
        return code, *capfd.readouterr()

    return ask


def alike(embeddings: Mapping[str, NDArray[np.float16]], to: str, top: int, among: Callable[[str], bool]) -> list[str]:
    def angle(path: str) -> float:
        one, other = (embeddings[name].astype(np.float64) for name in (path, to))
        lengths = np.linalg.norm(one) * np.linalg.norm(other)
        return -float(one @ other / lengths) if lengths else 0

    return sorted((path for path in embeddings if path != to and among(path)), key=angle)[:top]


def test_the_most_alike_come_first_and_without_the_image_itself(
    ask: Ask, output: Path, embeddings: Mapping[str, NDArray[np.float16]]
) -> None:
    one = "/archive/03.jpg"
    expected = alike(embeddings, one, 5, lambda _: True)
    assert ask(output, "--like", one, "--top", "5", "--paths") == (0, "".join(f"{path}\n" for path in expected), "")
    _, printed, _ = ask(output, "--like", "/archive/08.jpg", "--top", "3")
    assert printed.splitlines()[1] == "1.000  /archive/09.jpg"
    assert "found: 3 of 40 images" in printed


def test_they_are_those_of_the_selection_and_of_the_statement(
    ask: Ask, output: Path, embeddings: Mapping[str, NDArray[np.float16]]
) -> None:
    words = ["road", "--like", "/archive/03.jpg", "--top", "7"]
    expected = alike(embeddings, "/archive/03.jpg", 7, lambda path: int(path[-5]) % 2 == 0)
    assert ask(output, *words, "--paths")[1].split() == expected
    found = duckdb.execute(ask(output, *words, "--sql")[1]).fetchall()
    assert [row[0] for row in found] == expected


def test_more_are_asked_for_than_there_are(ask: Ask, output: Path) -> None:
    paths = ask(output, "--like", "/archive/03.jpg", "--top", "1000", "--paths")[1].split()
    assert len(set(paths)) == len(paths) == 39
    assert paths[-1] == "/archive/07.jpg", "without any feature, it is like no other"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--like", "/archive/x.jpg"], "has no tagged image /archive/x.jpg; give the path of one that it has"),
        (["--top", "5"], "--top 5 needs --like or --strangest"),
        (["--like", "/archive/03.jpg", "--top", "0"], "--top 0: not a whole number from 1 to"),
    ],
)
def test_what_cannot_be_found_is_one_line(ask: Ask, output: Path, words: list[str], message: str) -> None:
    code, printed, error = ask(output, *words)
    assert (code, printed) == (2, "")
    assert error.count("\n") == 1
    assert message in error
    assert error.count("\n") == 1


def test_an_output_without_embeddings_says_how_to_get_them(ask: Ask, run: Run, tmp_path: Path) -> None:
    write(run_of(run, tmp_path / "plain", ("road",)), [image("/a.jpg", [0.5])])
    assert ask(tmp_path / "plain", "--like", "/a.jpg")[2].endswith(
        "plain has no embeddings; run predict with --embeddings\n"
    )
