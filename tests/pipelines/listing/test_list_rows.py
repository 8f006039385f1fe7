"""Rows of a list that name nothing are failures, or the list is refused: none is passed over in silence."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.listing import EmptyInputError, InputError, list_images
from pipelines.listing.lists.names import NoName
from pipelines.listing.lists.texts import read_cells
from pipelines.records import Failure


class Read(NamedTuple):
    """What a list gave.

    Attributes:
      images: relative to the list.
      failures: where the others are in the list, and why they name nothing.
      passed_over: counts.
      told: what was remarkable.
    """

    images: list[str]
    failures: list[tuple[str, str]]
    passed_over: Counter[str]
    told: list[str]


def read(path: Path, column: str = "path") -> Read:
    passed_over, told = Counter[str](), list[str]()
    listed = list(list_images([], str(path), passed_over, path_column=column, tell=told.append))
    failed = [item for item in listed if isinstance(item, Failure)]
    assert all(item.error == "NoNameError" for item in failed), failed
    return Read(
        [item.path.removeprefix(f"{path.parent}/") for item in listed if not isinstance(item, Failure)],
        [(item.path.removesuffix(f" of {path}"), item.message) for item in failed],
        passed_over,
        told,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_rows_without_a_path_or_with_other_cells_than_the_header_are_failures(folder: Path, ending: str) -> None:
    rows = 'path,n\na.jpg,1\n,2\n"",3\nb,4.jpg,5\nb.jpg\n\nb.jpg,6\n'
    path = write(folder, f"list.{ending}", rows.replace(",", "\t" if ending == "tsv" else ","))

    assert read(path) == (
        ["a.jpg", "b.jpg"],
        [
            ("line 3", "no path"),
            ("line 4", "no path"),
            ("line 5", "3 cells, but the header has 2"),
            ("line 6", "1 cell, but the header has 2"),
        ],
        {"blank lines in the list": 1},
        [f"{path}: 1 blank line (line 7)"],
    )


def test_blank_lines_of_a_text_are_counted_and_told(folder: Path) -> None:
    path = write(folder, "list.txt", "a.jpg\n\r\n\n\n\n\n\nb.jpg\n")

    found = read(path)

    assert found.images == ["a.jpg", "b.jpg"]
    assert found.told == [f"{path}: 6 blank lines (lines 2, 3, 4, 5, 6, ...)"]
    assert found.passed_over == {"blank lines in the list": 6}


def test_values_of_json_that_are_no_path_are_failures(folder: Path) -> None:
    rows = [
        *({"path": "a.jpg"}, {"path": None}, {"n": 1}, {"path": ""}, {"path": 7}, {"path": 0.5}, {"path": ["b.jpg"]}),
        {"n": {"path": "deep.jpg"}, "path": "b.jpg"},
    ]
    lines = [*map(json.dumps, rows), '{"path": "a.jpg", "path": "b.jpg"}', ""]

    found = read(write(folder, "list.jsonl", "\n".join(lines) + "\n"))

    assert found.images == ["a.jpg", "b.jpg"]
    assert found.failures == [
        *((f"line {line}", "no path") for line in (2, 3, 4)),
        *((f"line {line}", "'path' is not a string") for line in (5, 6, 7)),
        ("line 9", "2 values of 'path'"),
    ]
    assert found.passed_over == {"blank lines in the list": 1}


def test_nulls_of_a_table_are_failures_with_the_number_of_their_row(folder: Path) -> None:
    names = ["a.jpg", None, *["b.jpg"] * 2000, "", None]
    pq.write_table(pa.table({"path": names}), folder / "list.parquet", row_group_size=700)

    found = read(folder / "list.parquet")

    assert found.images == ["a.jpg", "b.jpg"]
    assert [place for place, _ in found.failures] == ["row 2", "row 2,003", "row 2,004"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.csv", "path,n,path\na.jpg,1,b.jpg\n", "has 2 columns 'path'; rename one"),
        ("x.csv", "path;n\na.jpg;1\n", "has no column 'path', but 'path;n'; name the one that holds the"),
        ("x.csv", 'path,n\na.jpg,1\n"b.jpg,2\na.jpg,3\n', "x.csv: line 3: unexpected end of data; quote cells"),
        ("x.csv", 'path,n\na.jpg,"1" inch\n', "x.csv: line 2: ',' expected after '\"'; quote cells"),
        ("x.csv", "path\n" + f'"{"x" * 600_000}\n{"x" * 600_000}"\n', "x.csv: line 2: field larger than field limit"),
        ("x.jsonl", '{"path": "a.jpg"}\n{"path": \n', "x.jsonl: line 2 is not JSON: Expecting value: "),
        ("x.jsonl", "[" * 100_000, "x.jsonl: line 1 is not JSON: maximum recursion depth exceeded"),
        ("x.jsonl", '["a.jpg"]\n', "x.jsonl: line 1 is not a JSON object; write {\"path\": \"...\"} on each line"),
        ("x.jsonl", "x" * 3_000_000, "x.jsonl: line 1 is longer than 1,048,576 characters"),
        ("x.txt", "a.jpg\nb.jpg\n".encode("utf-16-le"), "is neither UTF-8 nor UTF-16 with a byte order mark; save it"),
        ("x.txt", "\ufeffa.jpg".encode("utf-16-le")[:-1], "x.txt: it is damaged utf-16-le: truncated data"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_list_that_cannot_be_read_surely_is_refused_with_the_line(
    folder: Path, name: str, content: str | bytes, reason: str
) -> None:
    path = write(folder, name, content)

    with pytest.raises(InputError) as refused:
        read(path)

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_columns_of_a_name_are_refused_in_a_table(folder: Path) -> None:
    table = pa.table([["a.jpg"], ["b.jpg"]], names=["path", "path"])
    pq.write_table(table, folder / "list.parquet")

    with pytest.raises(InputError, match=r"list\.parquet has 2 columns 'path'"):
        read(folder / "list.parquet")
    with pytest.raises(InputError, match=r"list\.parquet has no column 'name', but 'path', 'path'; name the one"):
        read(folder / "list.parquet", "name")


def test_cells_with_line_breaks_are_read_wherever_they_lie(folder: Path) -> None:
    note = '"' + "a line\n" * 20 + '"'
    names = [f"{number}.jpg" for number in range(10_000)]
    text = "path,note\r\n" + "".join(f"{name},{note}\r\n" for name in names)
    assert len(text) > 1 << 20, "one block of other readers"

    assert list(read_cells(io.StringIO(text, newline=""), ",", "path")) == names


@given(
    rows=st.lists(st.tuples(*[st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))] * 2)),
)
def test_whatever_a_program_writes_as_csv_is_read_as_it_was(rows: list[tuple[str, str]]) -> None:
    import csv

    text = io.StringIO(newline="")
    csv.writer(text).writerows([("n", "path"), *rows])
    text.seek(0)

    read = list(read_cells(text, ",", "path"))

    assert [name if isinstance(name, str) else "" for name in read] == [
        "" if name.isspace() else name for _, name in rows
    ]
    assert all(isinstance(name, str | NoName) for name in read)


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.jsonl"])
def test_an_empty_list_names_nothing(folder: Path, name: str) -> None:
    with pytest.raises(EmptyInputError, match="lists no images"):
        read(write(folder, name, ""))


def test_rows_of_two_lists_that_name_nothing_are_different(folder: Path) -> None:
    first, second = (write(folder, name, 'path\n""\n') for name in ("1.csv", "2.csv"))

    paths = {item.path for path in (first, second) for item in list_images([], str(path))}

    assert paths == {f"line 2 of {first}", f"line 2 of {second}"}


def test_a_row_that_names_nothing_is_the_same_however_its_list_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = write(folder, "1.csv", 'path\n" "\n')
    monkeypatch.chdir(folder)

    [listed] = list_images([], "1.csv")
    assert listed.path == f"line 2 of {absolute}"
