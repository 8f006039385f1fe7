"""What a list holds: names, and lines and rows without one, each of which is accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.errors import quantity

LONGEST = 1 << 17
"""Bytes of a name; no path is longer, nor is a path of an archive with the name of a member."""

NAME_KEPT = "name one of these with --keep_columns"
"""What to do if there is no such column to keep."""

LEAVE_OUT = "name only other columns with --keep_columns"
"""What to do if a column cannot be kept, whether it was named or is one of `all`."""

WRITE_AS_TEXT = f"write it as text, or {LEAVE_OUT}"
"""What to do if a column cannot be kept because of its type."""

_BEGINNING = 1000


class Blank(NamedTuple):
    """A line without a character: it separates lines, and names nothing.

    Attributes:
      line: its number.
    """

    line: int


class NoName(NamedTuple):
    """A line or row of a list that should name an image, and does not.

    Attributes:
      place: where it is in the list, e.g. `line 7`.
      reason: why it names none.
      beginning: of a name that is too long.
    """

    place: str
    reason: str
    beginning: str = ""


class NoNameError(ValueError):
    """A line or a row of a list that names no image."""


class Row(NamedTuple):
    """A row of a list of which columns are kept.

    Attributes:
      name: of the image, or why there is none.
      values: of the kept columns, as the list holds them; None where there is none.
    """

    name: str | NoName
    values: tuple[Any, ...]


Named = str | NoName | Blank | Row


class ListError(Exception):
    """A list that cannot be read.

    Attributes:
      message: what is wrong, to be put behind the list's path.
      remedy: what to do about it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        """Describe the error."""
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy


def check_name(name: str | None, place: str) -> str | NoName:
    """Return a name that stands in a column, or why there is none."""
    if not name or name.isspace():
        return NoName(place, "no path")
    if len(name) > LONGEST // 4 and (length := byte_length(name)) > LONGEST:
        return too_long(name, length, place)
    return name


def too_long(beginning: str, length: int, place: str) -> NoName:
    """Refuse a name longer than any path.

    Args:
      beginning: of the name.
      length: in bytes.
      place: where it is in the list.
    """
    return NoName(place, f"a name of {quantity(length, 'byte')} is too long for a path", beginning[:_BEGINNING])


def describe_place(named: NoName, list_: str) -> str:
    """Return a path for what names nothing: its place, since each has to become a row, and no path begins like this."""
    place = f"{named.place} of {list_}"
    return f"{named.beginning}... ({place})" if named.beginning else place


def find_column(
    columns: Sequence[str], column: str, remedy: str = "name the one that holds the paths with --path_column"
) -> int:
    """Find a column; by default, the one that holds the paths.

    Raises:
      ListError: there is none, or more than one.
    """
    if (count := list(columns).count(column)) == 1:
        return list(columns).index(column)
    if count:
        raise ListError(f" has {quantity(count, 'column')} {column!r}", "rename one")
    shown = ", ".join(repr(name[:100]) for name in columns[:10]) + ", ..." * (len(columns) > 10)
    raise ListError(f" has no column {column!r}, but {shown or 'none'}", remedy)


def reason(error: Exception) -> str:
    """Return in one line why a list cannot be read: what Arrow says has more."""
    described = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return described.strip().partition("\n")[0].rstrip(".")


def byte_length(text: str) -> int:
    """Return how many bytes a text takes in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))
