"""Columns of a list that are kept with its images: their types and their values."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.archives.packed import PackedNames
from pipelines.listing import InputError, find_kept, list_images
from pipelines.listing.lists.kept import Wanted, as_texts, find_types
from pipelines.output.schema import KEPT_TYPES
from pipelines.records import KeptColumn
from tests.conftest import Bucket
from tests.pipelines.listing.kept_columns import kept, write

TEXTS = {
    "date": (["2026-01-31", ""], "date"),
    "site_id": (["7", "-12"], "int64"),
    "code": (["007", "12"], "string"),
    "mixed": (["7", "A12"], "string"),
    "share": (["1", "2.5e-3"], "float64"),
    "large": (["9007199254740993", "0.5"], "string"),
    "huge": (["99999999999999999999", "1"], "string"),
    "clear": (["TRUE", "false"], "bool"),
    "zoned": (["2026-01-31 10:00+02:00", "2026-01-31T10:00:00Z"], "timestamp"),
    "local": (["2026-01-31 10:00", "2026-01-31T10:00:00.5"], "local_timestamp"),
    "times": (["2026-01-31 10:00", "2026-01-31 10:00Z"], "string"),
    "week": (["2026-W05", "20260131"], "string"),
    "nothing": (["", ""], "string"),
    "nanoseconds": (["2020-01-01T00:00:00.123456789Z", "2020-01-01T00:00:00Z"], "string"),
    "microseconds": (["2020-01-01T00:00:00.123456000Z", "2020-01-01T00:00:00Z"], "timestamp"),
    "powers": (["1E3", "12"], "string"),
    "powers or nothing": (["1E3", "nan"], "string"),
    "powers with a point": (["1E3", "2.5"], "float64"),
    "overflow": (["12E4567", "1.5"], "string"),
    "underflow": (["1.5E-400", "1.5"], "string"),
    "many digits": (["0.12345678901234567890", "1.5"], "string"),
    "large with a point": (["9007199254740993.0", "1.5"], "string"),
    "as printf": (["0.10000000000000000555", "5e-324"], "float64"),
    "beside a power of 2": (["5.684341886080802e-14", "0.1"], "float64"),
    "negative zero": (["-0", "7"], "float64"),
}
ZONE = timezone(timedelta(hours=2))
VALUES: dict[str, tuple[Sequence[Any], str]] = {
    "text": (["007", ""], "string"),
    "count": ([7, None], "int64"),
    "share": ([0.5, math.inf], "float64"),
    "clear": ([True, False], "bool"),
}


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    (tmp_path / "a.jpg").touch()
    return ["a.jpg", "gone.jpg"]


def test_texts_have_the_type_that_all_values_of_their_column_have(tmp_path: Path, paths: list[str]) -> None:
    path = write(tmp_path / "x.csv", {"path": paths, **{name: values for name, (values, _) in TEXTS.items()}})
    found = find_kept(path, "path", "all")
    assert {column.name: column.type for column in found} == {name: kind for name, (_, kind) in TEXTS.items()}
    image, failure = kept(path)
    assert image[:4] == ("2026-01-31", "7", "007", "7")
    assert failure[0] is None, "an empty cell is no value"
    assert image[8] == "2026-01-31T08:00:00+00:00"


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_lists_with_types_keep_them(tmp_path: Path, paths: list[str], ending: str) -> None:
    columns = {name: values for name, (values, _) in VALUES.items()}
    path = write(tmp_path / f"x.{ending}", {"path": paths, **columns})
    found = find_kept(path, "path", "all")
    assert {column.name: column.type for column in found} == {name: kind for name, (_, kind) in VALUES.items()}
    assert kept(path) == [("007", "7", "0.5", "true"), (None, None, "inf", "false")]


def test_tables_keep_dates_times_and_dictionaries(tmp_path: Path, paths: list[str]) -> None:
    moments = [datetime(2026, 1, 31, 10, tzinfo=ZONE), None]
    columns = {
        "path": paths,
        "day": [date(2026, 1, 31), None],
        "zoned": pa.array(moments, pa.timestamp("ns", tz="+02:00")),
        "local": [datetime(2026, 1, 31, 10, 0, 0, 5), None],
        "site": pa.array(["x", None]).dictionary_encode(),
        "small": pa.array([1, 2], pa.uint8()),
    }
    path = write(tmp_path / "x.parquet", columns)
    found = [kind for _, kind in find_kept(path, "path", "all")]
    assert found == ["date", "timestamp", "local_timestamp", "string", "int64"]
    day, zoned, local, site, small = kept(path)[0]
    assert (day, zoned, local, site, small) == (
        *("2026-01-31", "2026-01-31T08:00:00+00:00", "2026-01-31T10:00:00.000005", "x", "1"),
    )


def test_a_folder_of_tables_keeps_columns_too(tmp_path: Path, paths: list[str]) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    for number in (1, 2):
        write(folder / f"{number}.parquet", {"path": [str(tmp_path / "a.jpg")], "site": [number]})
    write(folder / "3.parquet", {"path": [str(tmp_path / "b.jpg")], "site": ["7"]})
    assert kept(str(folder), "site") == [("1",), ("7",)]
    renamed = folder.rename(tmp_path / "spark.parquet")
    assert kept(str(renamed)) == kept(f"{renamed}/") == [("1",), ("7",)]


def test_columns_that_not_all_files_of_a_folder_have_are_not_left_out_unnoticed(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    (folder / "day=1").mkdir(parents=True)
    write(folder / "1.parquet", {"path": ["a"], "site": [1]})
    write(folder / "2.parquet", {"path": ["a"], "site": [1], "sensor": ["x"]})
    with pytest.raises(
        InputError,
        match=r"/1.parquet and .*/2.parquet have different columns: only one of them has 'sensor'; name only",
    ):
        find_kept(str(folder), "path", "all")
    with pytest.raises(InputError, match=r"have different columns: only one of them has 'sensor'; name only other"):
        find_kept(str(folder), "path", "site,sensor")
    assert find_kept(str(folder), "path", "site") == (KeptColumn("site", "int64"),)

    (folder / "2.parquet").rename(folder / "day=1" / "2.parquet")
    with pytest.raises(InputError, match=r"has a column in the names of its folders, as in day=1; name the columns"):
        find_kept(str(folder), "path", "all")


def test_a_column_whose_type_differs_between_files_has_the_type_that_all_its_values_have(tmp_path: Path) -> None:
    """Of the first file alone, it would be refused in the middle of a listing: a chunk without values has no type."""
    folder = tmp_path / "tables"
    folder.mkdir()
    write(folder / "1.parquet", {"path": ["a"], "site": [None], "share": [1], "code": [7]})
    write(folder / "2.parquet", {"path": ["b"], "site": [7], "share": [0.5], "code": ["B"]})
    found = (KeptColumn("site", "int64"), KeptColumn("share", "float64"), KeptColumn("code", "string"))
    assert find_kept(str(folder), "path", "all") == find_kept(str(folder), "path", "site,share,code") == found
    assert kept(str(folder)) == [(None, "1.0", "7"), ("7", "0.5", "B")]


def test_a_column_without_a_name_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "pandas.csv").write_text(",path,site\n0,a,7\n")
    assert find_kept(str(tmp_path / "pandas.csv"), "path", "all") == (KeptColumn("site", "int64"),)


def test_a_column_that_is_called_like_a_type_is_not_the_one_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "pandas.csv").write_text(",path,date\n0,a,2026-05-01\n")
    assert find_kept(str(tmp_path / "pandas.csv"), "path", "date") == (KeptColumn("date", "date"),)
    with pytest.raises(InputError, match="has no column 'site', but '', 'path', 'date'"):
        find_kept(str(tmp_path / "pandas.csv"), "path", "site")


def test_a_folder_of_tables_in_a_bucket_may_be_called_like_a_table(bucket: Bucket, tmp_path: Path) -> None:
    part = Path(write(tmp_path / "part.parquet", {"path": [f"{bucket.path}/a.jpg"], "site": [7]}))
    storage.write(f"{bucket.path}/spark.parquet/part-0.parquet", part.read_bytes())
    storage.write(f"{bucket.path}/spark.parquet/_SUCCESS", b"")
    assert kept(f"{bucket.path}/spark.parquet") == [("7",)]


def test_a_number_of_json_that_no_float64_holds_stays_text(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"path": "a", "x": 0.12345678901234567890, "y": 1e3}\n{"path": "b", "x": 0.5, "y": 1e400}\n')
    assert find_kept(str(file), "path", "all") == (KeptColumn("x", "string"), KeptColumn("y", "string"))
    assert kept(str(file)) == [("0.12345678901234567890", "1000.0"), ("0.5", "1e400")]


def test_members_of_a_listed_archive_have_its_values(tmp_path: Path, paths: list[str]) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("1.jpg", "2.jpg"):
            archive.add(tmp_path / "a.jpg", name)
    path = write(tmp_path / "x.csv", {"path": ["x.tar", "x.tar::3.jpg"], "site": ["1", "2"]})
    assert kept(path) == [("1",), ("1",), ("2",)]


def test_values_survive_the_packing_of_a_wave(tmp_path: Path, paths: list[str]) -> None:
    path = write(tmp_path / "x.csv", {"path": paths, "site": ["1", ""]})
    listed = list(list_images([str(tmp_path / "a*")], path, kept=find_kept(path, "path", "site")))
    listed += [item._replace(replaces="failures/x.parquet") for item in listed]
    assert list(PackedNames(listed)) == listed
    assert [item.kept for item in listed[:2]] == [("1",), (None,)], "an image that an input names too has its values"


def test_what_is_listed_at_no_name_has_its_values_too(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", {"path": [""], "site": ["1"]})
    assert kept(path) == [("1",)]


def test_a_type_that_is_given_holds(tmp_path: Path, paths: list[str]) -> None:
    path = write(tmp_path / "x.csv", {"path": paths, "site": ["1", "2"], "a:b": ["+07", "8"]})
    assert find_kept(path, "path", "site:string, a:b:int64") == (
        *(KeptColumn("site", "string"), KeptColumn("a:b", "int64")),
    )
    assert kept(path, "site:string, a:b:int64") == [("1", "7"), ("2", "8")]


def test_the_name_of_a_column_may_look_like_one_with_a_type(tmp_path: Path, paths: list[str]) -> None:
    path = write(tmp_path / "x.csv", {"path": paths, "a:int64": ["x", "y"], "b": ["1", "2"], "b:c": ["3", "4"]})
    assert kept(path, "a:int64, b:c") == [("x", "3"), ("y", "4")]


CELLS = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.booleans().map(str),
    st.dates().map(str),
    st.datetimes(timezones=st.sampled_from([None, UTC, ZONE])).map(str),
)


@given(st.lists(CELLS, max_size=4))
def test_any_cells_are_read_back_as_the_type_that_was_found(cells: list[str]) -> None:
    columns = find_types([Wanted("x")], ([cell] for cell in cells), typed=False)
    for cell in cells:
        [text] = as_texts(columns, [cell])
        assert (text is None) == (cell == "")
        if text is not None:
            value = KEPT_TYPES[columns[0].type](text)
            assert columns[0].type != "string" or value == cell
            assert columns[0].type != "int64" or str(value) == cell.removeprefix("-0").lstrip("+") or cell == "-0"


def test_a_list_that_changes_while_it_is_read_is_refused(tmp_path: Path, paths: list[str]) -> None:
    path = write(tmp_path / "x.csv", {"path": paths, "site": ["1", "2"]})
    columns = find_kept(path, "path", "site")
    write(tmp_path / "x.csv", {"path": paths, "site": ["1", "B"]})
    with pytest.raises(InputError, match="has a column 'site' with 'B', which is not a valid int64"):
        list(list_images([], path, kept=columns))
