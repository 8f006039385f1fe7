"""Columns of a list that cannot be kept, or not with the type that is asked for, are named with what to do."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.listing import InputError, find_kept, list_images
from pipelines.records import KeptColumn
from tests.pipelines.listing.kept_columns import kept, write

INFINITIES: dict[str, pa.Array] = {
    "of a database": pa.array([2**63 - 1], pa.timestamp("us")),
    "before the year 1": pa.array([-800_000], pa.date32()),
    "at the edge of a zone": pa.array([253_402_300_799], pa.timestamp("s", "Asia/Tokyo")),
    "of an unknown zone": pa.array([0], pa.timestamp("s", "Nowhere/Land")),
}


def test_a_table_with_parts_of_a_microsecond_is_refused(tmp_path: Path) -> None:
    moments = pa.array([1_577_836_800_123_456_789], pa.timestamp("ns", tz="UTC"))
    path = write(tmp_path / "x.parquet", {"path": ["a"], "when": moments})
    with pytest.raises(
        InputError, match=r"x.parquet has a column 'when' with a timestamp that microseconds cannot hold"
    ):
        kept(path)


@pytest.mark.parametrize("name", INFINITIES)
def test_a_time_that_python_cannot_hold_is_refused_by_name(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"path": ["a"], "taken": INFINITIES[name]}), tmp_path / "x.parquet")
    with pytest.raises(
        InputError, match=r"has a column 'taken' with a time outside the years 1 to 9999, or in an unknown"
    ):
        kept(str(tmp_path / "x.parquet"))
    assert len(list(list_images([], str(tmp_path / "x.parquet")))) == 1


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("nope", r"x.csv has no column 'nope', but 'path', 'site', 'code', .*; name one of these with --keep_columns"),
        ("site,site", r"x.csv has one column 'site', and --keep_columns names it twice"),
        (
            "code:int64",
            r"has a column 'code' with 'A1', which is not a valid int64; keep it as text with --keep_columns",
        ),
        ("code:timestamp", r"which is not a valid timestamp"),
        (
            "site:integer",
            r"^--keep_columns site:integer: 'integer' is not a type; use one of string, int64, .*, local_timestamp",
        ),
        ("site:", r"^--keep_columns site:: '' is not a type; use one of"),
        ("nope:integer", r"x.csv has no column 'nope:integer', but 'path'"),
        ("nope:int64", r"x.csv has no column 'nope', but 'path'"),
        (
            "when:timestamp",
            r"with '2020-01-01T00:00:00.1234567Z', which a timestamp cannot hold exactly; keep it as text",
        ),
        ("share:float64", r"with '0.12345678901234567890', which a float64 cannot hold exactly"),
        ("huge:float64", r"with '1E99999999999999999999', which a float64 cannot hold exactly"),
        ("site:date", r"with '1', which is not a valid date"),
    ],
)
def test_what_cannot_be_kept_is_named(tmp_path: Path, written: str, message: str) -> None:
    inexact = {
        "when": ["2020-01-01T00:00:00.1234567Z", ""],
        "share": ["0.12345678901234567890", ""],
        "huge": ["1E99999999999999999999", ""],
    }
    path = write(tmp_path / "x.csv", {"path": ["a", "b"], "site": ["1", "2"], "code": ["A1", ""], **inexact})
    with pytest.raises(InputError, match=message):
        find_kept(path, "path", written)


def test_a_type_that_values_of_a_table_do_not_have_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"path": ["a", "b"], "site": ["1", "B"], "count": [1, 2]})
    with pytest.raises(InputError, match=r"has a column 'site' with 'B', which is not a valid int64; keep it as text"):
        find_kept(path, "path", "site:int64")
    assert find_kept(path, "path", "site,count:float64") == (
        *(KeptColumn("site", "string"), KeptColumn("count", "float64")),
    )


@pytest.mark.parametrize("name", ["x.txt", "-"])
def test_lines_have_no_columns(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.txt").write_text("a.jpg\n")
    path = name if name == "-" else str(tmp_path / name)
    with pytest.raises(InputError, match=r"has lines, not columns; omit --keep_columns$"):
        find_kept(path, "path", "all")


@pytest.mark.parametrize("values", [[[1]], [b"1"], [{"x": 1}], [Decimal("1.5")]])
def test_columns_of_other_types_are_refused(tmp_path: Path, values: list[Any]) -> None:
    remedy = "; write it as text, or name only other columns with --keep_columns$"
    path = write(tmp_path / "x.parquet", {"path": ["a"], "x": values})
    for written in ("x", "all"):
        with pytest.raises(InputError, match=rf"has a column 'x' of .*, which cannot be kept{remedy}"):
            find_kept(path, "path", written)
    if not isinstance(values[0], bytes | Decimal):
        with pytest.raises(InputError, match=rf"has a column 'x' with an? (list|object), which cannot be kept{remedy}"):
            find_kept(write(tmp_path / "x.jsonl", {"path": ["a"], "x": values}), "path", "x")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_kept_text_that_is_too_long_is_not_called_a_path(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.jpg").touch()
    path = write(tmp_path / f"x.{ending}", {"path": ["a.jpg"], "site": ["x" * (1 << 16)]})
    assert kept(path, "site") == [("x" * (1 << 16),)]

    path = write(tmp_path / f"y.{ending}", {"path": ["a.jpg"], "site": ["x" * ((1 << 17) + 1)]})
    told = r"y\.\w+ has a column 'site' with a value of over 131,072 bytes; name only other columns with"
    with pytest.raises(InputError, match=told):
        kept(path, "site")
