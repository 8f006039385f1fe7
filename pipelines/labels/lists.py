"""Read lists that are written in a cell, in the spellings of Python, JSON, NumPy and databases."""

from __future__ import annotations

import ast
import json
import re
import warnings

from pipelines.labels.findings import LabelError, shown
from pipelines.labels.tables import Cell, as_cell

_BRACKETS = re.compile(r"\s*(?:\[(.*)\]|\((.*)\)|\{(.*)\})\s*", re.DOTALL)
_QUOTED = re.compile(r"""\s*['"].*['"]\s*,?\s*""", re.DOTALL)
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
            values = _flat(read(cell.strip()))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if values is not None:
            return as_cell(values)
    if _QUOTED.fullmatch(text) or text.strip()[0] in "[{":
        raise LabelError(
            f"{place}: {shown(cell)} is not a list of texts",
            "write it as JSON, or write the tags alone, separated by |",
        )
    return cell


def _from_python(cell: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backslashes, as in paths
        return ast.literal_eval(_GAP.sub(r"\1, ", cell))


def _flat(found: object) -> list[object] | None:
    """Return the values of a list, a tuple or a set; None of anything else, and if a value is none itself.

    Label Studio writes several choices as an object with one list.
    """
    if isinstance(found, dict) and len(found) == 1:
        [found] = found.values()
    if not isinstance(found, (list, tuple, set)):
        return None
    values = list(found)
    return values if all(isinstance(value, (str, int, float, type(None))) for value in values) else None
