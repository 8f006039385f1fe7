"""Read lists that are written in a cell, in the spellings of Python, JSON, NumPy and databases."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import NoReturn

from pipelines.labels.findings import LabelError, shown
from pipelines.labels.tables import Cell, Nested, as_cell

_BRACKETS = re.compile(r"\s*(?:\[(.*)\]|\((.*)\)|\{(.*)\})\s*", re.DOTALL)
_QUOTED = re.compile(r"""\s*['"].*['"]\s*,?\s*""", re.DOTALL)
# A map as Java and YAML write it: what is before each mark may have it or not.
_MARK = r"[^,:=]+[:=]\s*(?:true|false|null|[-+]?[0-9]*\.?[0-9]+)\s*"
_MARKED = re.compile(rf"{_MARK}(?:,{_MARK})*", re.IGNORECASE)
# NumPy writes no commas between the texts of an array, which Python would join.
_GAP = re.compile(r"""(['"])\s+(?=['"])""")


def inside(cell: str) -> str | None:
    """Return what stands between the brackets around a cell; None if there are none."""
    found = _BRACKETS.fullmatch(cell)
    return None if found is None else next(text for text in found.groups() if text is not None)


def read_list(place: str, cell: str) -> Cell:
    """Read a list of quoted texts or of numbers; a cell that is none, or has brackets alone, is returned as it is.

    Raises:
      LabelError: it has quoted texts, and is not a list of them.
    """
    text = inside(cell)
    if text is None:
        return cell
    if not text.strip():
        return ()
    for read in (json.loads, _from_python):
        try:
            value = read(cell.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, (list, tuple, set, dict)):
            found = as_cell(value)
            if isinstance(found, Nested):
                _refuse(place, cell)
            return found
    if _QUOTED.fullmatch(text) or text.strip()[0] in "[{" or (cell.strip()[0] == "{" and _MARKED.fullmatch(text)):
        _refuse(place, cell)
    return cell


def _refuse(place: str, cell: str) -> NoReturn:
    raise LabelError(
        f"{place}: {shown(cell)} is not a list of strings",
        "write it as JSON, or write the tags alone, separated by |",
    )


def _from_python(cell: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backslashes, as in paths
        return ast.literal_eval(_GAP.sub(r"\1, ", cell))
