"""Write untrusted names and values into SQL so that they stay names and values."""

from __future__ import annotations

import re
from itertools import groupby

from pipelines.errors import ScenetagsError

_PLAIN = re.compile(r"p_\w+|novelty", re.ASCII)
_WILD = re.compile(r"[*?\[]")


class UnwritableError(ScenetagsError):
    """A name that cannot be written into a statement."""


def text(value: str) -> str:
    """Write a text as DuckDB takes it, in a form that can be printed: a line break is written as `chr(10)`."""
    if value.isprintable():
        return _quote(value)
    pieces = (
        [_quote("".join(characters))] if printable else [f"chr({ord(character)})" for character in characters]
        for printable, characters in groupby(value, str.isprintable)
    )
    return f"({' || '.join(piece for some in pieces for piece in some)})"


def name(column: str, mark: str = '"') -> str:
    """Write the name of a column, or of a table, in quotes, of which those within it are doubled."""
    return f"{mark}{column.replace(mark, mark * 2)}{mark}"


def plain_name(column: str) -> str:
    """Write the name of a column of numbers, in quotes only where it needs them: no word of SQL begins with `p_`."""
    return column if _PLAIN.fullmatch(column) else name(column)


def pattern(folder: str, ending: str) -> str:
    """Write the pattern of all files in a folder whose names have this ending; the folder's own name is literal.

    Raises:
      UnwritableError: DuckDB knows no pattern for it.
    """
    if "\\" in folder:
        raise UnwritableError(f"{folder}: DuckDB takes a backslash for the end of a folder's name", "rename the folder")
    return text(f"{_WILD.sub(lambda wild: f'[{wild[0]}]', folder)}/*{ending}")


def _quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
