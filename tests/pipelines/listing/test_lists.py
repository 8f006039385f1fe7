"""Lists whose lines no path could fill: they cost no memory, and no other line."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.listing import InputError, list_images
from pipelines.listing.lists.names import LONGEST
from pipelines.records import Failure, ImageRef

LONG = "x" * (LONGEST + 1)


def write_list(folder: Path, ending: str, names: list[str], dictionary: bool = False) -> str:
    path = folder / f"list.{ending}"
    if ending == "parquet":
        # Where values are not gathered in a dictionary, each is in its own row.
        pq.write_table(pa.table({"path": names}), path, use_dictionary=dictionary)
    else:
        path.write_text("\n".join(["path"] * (ending == "csv") + names))
    return str(path)


@pytest.mark.parametrize("ending", ["txt", "csv", "parquet"])
def test_a_line_too_long_for_a_path_is_a_failure_of_its_own(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.jpg").touch()
    longest = "y" * (LONGEST - 1)

    path = write_list(tmp_path, ending, ["a.jpg", LONG, LONG, longest, "a.jpg"])

    listed = list(list_images([], path))

    places = {"txt": ("line 2", "line 3"), "csv": ("line 3", "line 4"), "parquet": ("row 2", "row 3")}[ending]
    failures = [item for item in listed if isinstance(item, Failure)]
    assert len(listed) == 4, "two that begin alike are two, and one that is named twice is one"
    assert [(item.path, item.error) for item in failures[:2]] == [
        (f"{'x' * 1000}... ({place} of {path})", "NoNameError") for place in places
    ]
    assert "bytes is too long for a path" in failures[0].message
    assert failures[2].message == "File name too long"


def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    path = write_list(tmp_path, "txt", ["x" * 20_000_000, "a.jpg"])

    tracemalloc.start()
    long, _ = list_images([], path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(long, Failure)
    assert long.message == "a name of 20,000,001 bytes is too long for a path"
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("ending", "names", "reason"),
    [
        ("csv", ["x" * 3_000_000], "list.csv: line 2 is longer than 1,048,576 characters"),
        (
            "parquet",
            [LONG],
            "list.parquet has a column 'path' with values too long for a path, over 131,072 bytes",
        ),
        ("parquet", [LONG * 10, *map(str, range(20))], "with values too long for a path"),
    ],
)
def test_a_list_that_would_unpack_to_more_than_paths_is_refused(
    tmp_path: Path, ending: str, names: list[str], reason: str
) -> None:
    with pytest.raises(InputError) as refused:
        list(list_images([], write_list(tmp_path, ending, names, dictionary=True)))

    assert reason in str(refused.value)


def test_a_small_list_of_a_hundred_thousand_copies_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    copies = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 4_000_000]))
    pq.write_table(pa.table({"path": copies}), path, compression="zstd", store_schema=False)

    assert path.stat().st_size < 1000
    with pytest.raises(InputError, match="with values too long for a path"):
        list(list_images([], str(path)))


def test_groups_of_rows_are_read_one_after_another(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(3000)]
    pq.write_table(pa.table({"path": names}), tmp_path / "list.parquet", row_group_size=1100)

    listed = [item.path for item in list_images([], f"{tmp_path}/list.parquet")]

    assert listed == [f"{tmp_path}/{name}" for name in names]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("ending", ["txt", "csv", "jsonl"])
def test_a_list_may_have_any_ends_of_lines(tmp_path: Path, ending: str, end: str, encoding: str) -> None:
    names = [f"{number}.jpg" for number in range(2000)]
    lines = (
        [json.dumps({"path": name}) for name in names] if ending == "jsonl" else ["path"] * (ending == "csv") + names
    )
    path = tmp_path / f"list.{ending}"

    for last in ("", end):
        path.write_text(end.join(lines) + last, encoding=encoding, newline="")
        assert [item.path for item in list_images([], str(path))] == [f"{tmp_path}/{name}" for name in names]


def test_lines_that_end_with_a_return_are_as_long_as_others(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\r".join(["a.jpg", "", LONG * 2, "b.jpg"]), newline="")
    first, long, last = list_images([], str(tmp_path / "list.txt"))
    assert (first.path, last.path) == (f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg")
    assert isinstance(long, Failure)
    assert long.path.endswith(f"... (line 3 of {tmp_path}/list.txt)")
    assert long.message.endswith("bytes is too long for a path")


def test_a_name_may_have_a_return_where_lines_end_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a\rb.jpg").touch()
    (tmp_path / "list.txt").write_text("a\rb.jpg\n", newline="")
    [listed] = list_images([], str(tmp_path / "list.txt"))
    assert isinstance(listed, ImageRef)
    assert listed.path == f"{tmp_path}/a\rb.jpg"
