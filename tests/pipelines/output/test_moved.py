"""Images whose folder has another name than in the rows are told from other images of the same names."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipelines.output import moved
from pipelines.output.moved import Moved, find_moved
from pipelines.output.run import FAILURES, PREDICTIONS, Run
from pipelines.records import Failure, ImageRef, Listed
from tests.pipelines.output.rows import commit_rows

COUNT = 40


def listing(folder: str, numbers: Sequence[int], fingerprint: str = "print") -> list[Listed]:
    return [ImageRef(f"{folder}/{number}.jpg", 1, f"{fingerprint} {number}") for number in numbers]


@pytest.fixture
def output(run: Run, earlier: Run) -> Run:
    """Fill the output with images in /old."""
    rows = {f"/old/deep/{number}.jpg": (PREDICTIONS, f"print {number}") for number in range(COUNT)}
    commit_rows(earlier, {**rows, "/old/bad.jpg": (FAILURES, "print")})
    return run


@pytest.mark.parametrize("numbers", [range(COUNT), [7], range(0, COUNT, 2)])
def test_images_that_have_moved_are_found_be_they_all_or_a_part(output: Run, numbers: Sequence[int]) -> None:
    sample = listing("/new", numbers)

    first = numbers[0]
    assert find_moved(output, sample, len(sample)) == Moved(f"/new/{first}.jpg", f"/old/deep/{first}.jpg")


def test_a_sample_of_many_is_enough(output: Run) -> None:
    sample = listing("/new", range(0, COUNT, 8))

    assert find_moved(output, sample, COUNT)
    assert find_moved(output, [*sample, *listing("/new", range(900, 920))], 5 * COUNT)


@pytest.mark.parametrize(
    "sample",
    [
        [],
        [Failure("/new/0.jpg", "list", "OSError", "", "")],
        listing("/new", range(COUNT), "another print"),
        # A blank tile is the same everywhere.
        [*listing("/new", range(1)), *listing("/new", range(1, COUNT), "another print")],
        listing("/new", range(COUNT, 2 * COUNT)),
    ],
    ids=["nothing", "a failure", "other content", "one of many", "other names"],
)
def test_other_images_have_not_moved(output: Run, sample: Sequence[Listed]) -> None:
    assert find_moved(output, sample, len(sample)) is None


def test_nothing_is_read_where_an_image_has_a_row_under_its_path(output: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = [*listing("/new", range(COUNT)), *listing("/old/deep", [3])]
    find_moved(output, [], 0)
    monkeypatch.setattr(moved, "read_images", None)

    assert find_moved(output, sample, len(sample)) is None


def test_no_more_than_a_part_of_a_large_output_is_read(
    output: Run, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moved, "_ROWS_PER_FILE", 10)

    assert find_moved(output, listing("/new", range(10)), 10)
    assert find_moved(output, listing("/new", range(20, COUNT)), 20) is None, "what is not read is not found"
