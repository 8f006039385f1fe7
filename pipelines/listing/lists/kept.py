"""Columns of a list whose values are kept with the images: their types, found in the values themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from pipelines.listing.lists.files import is_typed, locate, read_names, read_types, refusals_explained
from pipelines.listing.lists.floats import InexactError, exact
from pipelines.listing.lists.names import (
    LEAVE_OUT,
    LONGEST,
    NAME_KEPT,
    WRITE_AS_TEXT,
    ListError,
    Row,
    byte_length,
    find_column,
)
from pipelines.listing.lookup import InputError
from pipelines.records import KeptColumn

_ALL = "all"
_DIGITS = re.compile(r"-?[0-9]+")
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|nan|-?inf")
_CODE = re.compile(r"[-+]?0[0-9]|\+")
# As 1E3, which may be a code.
_POWER = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")
_NEGATIVE_ZERO = "-0"
# A timestamp counts microseconds, and Python would cut off what is below them.
_BELOW_MICROSECONDS = re.compile(r"[.,][0-9]{6}0*[1-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXACT = 1 << 53
_SHOWN = 60


class Wanted(NamedTuple):
    """A column that the user asked to keep.

    Attributes:
      name: in the list.
      type: one of `TYPES`; empty to find it in the values.
    """

    name: str
    type: str = ""


def _possible_names(written: str) -> set[str]:
    """Return the columns that may be meant, whether a colon is part of a name or stands in front of a type."""
    parts = [part.strip() for part in written.split(",")]
    return {*parts, *(part.rpartition(":")[0] for part in parts)} - {""}


def _read_wanted(written: str, columns: Collection[str]) -> tuple[Wanted, ...]:
    wanted = [_read_column(part.strip(), columns) for part in written.split(",")]
    names = [column.name for column in wanted]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ListError(f" has one column {double!r}, and --keep_columns names it twice", "name it once")
    return tuple(wanted)


def _read_column(written: str, columns: Collection[str]) -> Wanted:
    """Read `NAME` or `NAME:TYPE`, where a name may have a colon, too."""
    name, _, kind = written.rpartition(":")
    # A column without a name, as pandas writes its index, is not one with a type.
    if not name or (name not in columns and (written in columns or kind not in TYPES)):
        return Wanted(written)
    if kind in TYPES:
        return Wanted(name, kind)
    if written in columns:
        return Wanted(written)
    raise InputError(f"--keep_columns {written}: {kind!r} is not a type", f"use one of {', '.join(TYPES)}")


def find_kept(path: str, column: str, written: str) -> tuple[KeptColumn, ...]:
    """Find the columns of a list that are kept, and their types; unless the list has these types, it is read for it.

    Args:
      path: of the list.
      column: that holds the paths.
      written: names with commas between them, each perhaps with `:TYPE`; or `all`.

    Raises:
      InputError: the list cannot be read, has no such column, or one with values that cannot be kept.
    """
    path = locate(path)
    with refusals_explained(path):
        types = read_types(path, column, None if written == _ALL else _possible_names(written))
        # A column without a name is the index that pandas writes by default.
        others = [Wanted(name) for name in types if name not in (column, "")]
        wanted = tuple(others) if written == _ALL else _read_wanted(written, types)
        for name, _ in wanted:
            find_column(list(types), name, NAME_KEPT)
        wanted = tuple(Wanted(name, kind or types[name]) for name, kind in wanted)
        if all(kind and kind == types[name] for name, kind in wanted):
            return tuple(KeptColumn(*column) for column in wanted)
        rows = read_names(path, column, kept=[name for name, _ in wanted])
        return find_types(wanted, (row.values for row in rows if isinstance(row, Row)), is_typed(path))


def find_types(wanted: Sequence[Wanted], rows: Iterable[Sequence[Any]], typed: bool) -> tuple[KeptColumn, ...]:
    """Find the type of each column in its values.

    A column has a type only if each of its values has it, and if it holds each of them as it is written; otherwise it
    is text. In a list without types, what has zeros in front is text: it is a code, not a number. So is what has an
    exponent and no point, as `1E3`, unless other values of the column have a point.

    Args:
      wanted: the columns.
      rows: the values of all rows, in the order of the columns.
      typed: whether the list has types of its own, as JSON and Parquet do.

    Raises:
      ListError: a value cannot be kept, or is not of the type that the user gave.
    """
    kind_of = _kind_of_value if typed else _kind_of_text
    kinds: list[set[str]] = [set() for _ in wanted]
    for row in rows:
        for column, value, found in zip(wanted, row, kinds, strict=True):
            text = _text(column.name, value)
            if text is None:
                continue
            if column.type:
                _convert(KeptColumn(*column), text)
            else:
                found.add(kind_of(value))
    return tuple(
        KeptColumn(column.name, column.type or _common(found)) for column, found in zip(wanted, kinds, strict=True)
    )


def as_texts(columns: Sequence[KeptColumn], values: Sequence[Any]) -> tuple[str | None, ...]:
    """Return the values of a row as texts that the output reads as their columns' types.

    Raises:
      ListError: one is of another type than when the types were found, because the list has changed since.
    """
    texts = [_text(column.name, value) for column, value in zip(columns, values, strict=True)]
    return tuple(text if text is None else _convert(column, text) for column, text in zip(columns, texts, strict=True))


def _text(column: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool | int | float | str):
        text = str(value)
    elif isinstance(value, date):
        # A time of day is a date, too.
        text = value.isoformat()
    else:
        kind = "an object" if isinstance(value, tuple) else "a list"
        raise ListError(f" has a column {column!r} with {kind}, which cannot be kept", WRITE_AS_TEXT)
    if len(text) > LONGEST // 4 and byte_length(text) > LONGEST:
        raise ListError(f" has a column {column!r} with a value of over {LONGEST:,} bytes", LEAVE_OUT)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ListError(
            f" has a column {column!r} with a value that is not UTF-8: {text[:_SHOWN]!a}", LEAVE_OUT
        ) from None
    return text


def _convert(column: KeptColumn, text: str) -> str:
    try:
        return TYPES[column.type](text)
    except (ValueError, OverflowError) as error:
        inexact = f"a {column.type} cannot hold exactly"
        unfit = inexact if isinstance(error, InexactError) else f"is not a valid {column.type}"
        raise ListError(
            f" has a column {column.name!r} with {text[:_SHOWN]!r}, which {unfit}",
            f"keep it as text with --keep_columns {column.name}:string",
        ) from None


def _integer(text: str) -> str:
    if not _INTEGER.fullmatch(text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError
    return str(int(text))


def _number(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return repr(exact(text))


def _truth(text: str) -> str:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower()


def _date(text: str) -> str:
    # Python also reads weeks and dates without hyphens, which may be numbers.
    if not _DATE.fullmatch(text):
        raise ValueError
    return date.fromisoformat(text).isoformat()


def _time(text: str, zoned: bool) -> str:
    if not _DATE.match(text) or text[10:11] not in ("T", " "):
        raise ValueError
    time = datetime.fromisoformat(text)
    if _BELOW_MICROSECONDS.search(text):
        raise InexactError
    if bool(time.tzinfo) != zoned:
        raise ValueError
    return (time.astimezone(UTC) if zoned else time).isoformat()


TYPES: Mapping[str, Callable[[str], str]] = {
    "string": str,
    "int64": _integer,
    "float64": _number,
    "bool": _truth,
    "date": _date,
    "timestamp": lambda text: _time(text, zoned=True),
    "local_timestamp": lambda text: _time(text, zoned=False),
}
"""Types that a kept column may have, and how each reads a value from its text."""


def _kind_of_value(value: Any) -> str:
    if isinstance(value, datetime):
        return "timestamp" if value.tzinfo else "local_timestamp"
    kinds = (bool, "bool"), (int, "int64"), (float, "float64"), (date, "date")
    kind = next((name for python, name in kinds if isinstance(value, python)), "string")
    return _exactness(value) if kind == "int64" else kind


def _kind_of_text(text: str) -> str:
    if _CODE.match(text):
        return "string"
    if text != _NEGATIVE_ZERO and _DIGITS.fullmatch(text):
        return _exactness(int(text)) if _INTEGER.fullmatch(text) else "string"
    for kind in ("float64", "bool", "date", "timestamp", "local_timestamp"):
        try:
            TYPES[kind](text)
        except (ValueError, OverflowError):
            continue
        return _pointedness(text) if kind == "float64" else kind
    return "string"


_LARGE = "int64, too large for a float64"
_PERHAPS_CODE = "float64, or a code"
_POINTLESS = "float64, without a point"
_NUMBERS = frozenset({"int64", _LARGE, "float64", _PERHAPS_CODE, _POINTLESS})


def _exactness(value: int) -> str:
    if not -(1 << 63) <= value < 1 << 63:
        return "string"
    return "int64" if abs(value) <= _EXACT else _LARGE


def _pointedness(text: str) -> str:
    if _POWER.fullmatch(text):
        return _PERHAPS_CODE
    return "float64" if "." in text else _POINTLESS


def _common(kinds: set[str]) -> str:
    if not kinds or not kinds <= _NUMBERS:
        return next(iter(kinds)) if len(kinds) == 1 else "string"
    if kinds <= {"int64", _LARGE}:
        return "int64"
    are_codes = _PERHAPS_CODE in kinds and "float64" not in kinds
    return "string" if are_codes or _LARGE in kinds else "float64"
