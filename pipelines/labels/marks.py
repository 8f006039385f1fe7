"""Read tags from one column per label, whose cells say whether an image has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.missing import is_missing
from pipelines.labels.tables import Cell, Line

_YES = ("1", "1.0", "true", "yes", "y", "x")
_NO = ("0", "0.0", "false", "no", "n")
_LESS = ("-1", "-1.0")
_KNOWN = frozenset((*_YES, *_NO, *_LESS))
# Columns may be called x and y.
_PLAIN = _KNOWN - {"x", "y", "n"}


def are_all(cells: Iterable[str]) -> bool:
    """Return whether there are cells, and all of them are marks, in digits or whole words."""
    folded = {cell.strip().casefold() for cell in set(cells)}
    return bool(folded) and folded <= _PLAIN


def may_be(cells: Iterable[str]) -> bool:
    """Return whether a column may be a label: at least half of its cells with a value are marks."""
    values = {cell: count for cell, count in Counter(cells).items() if not is_missing(cell)}
    return 2 * sum(count for cell, count in values.items() if _fold(cell) in _KNOWN) >= sum(values.values())


def read_marks(
    lines: Sequence[Line], labels: Mapping[int, str]
) -> tuple[list[frozenset[str] | None], tuple[Finding, ...]]:
    """Read the tags of each line; None if a cell has no value.

    Args:
      lines: of the table.
      labels: columns, and the label of each.

    Raises:
      LabelError: a cell is no mark, or it is unclear what -1 means.
    """
    cells = [{column: _fold(line.cells[column]) for column in labels} for line in lines]
    counts = Counter(mark for of_line in cells for mark in of_line.values())
    if unknown := counts.keys() - _KNOWN - {""}:
        _refuse(lines, labels, unknown)
    yes, no, less = (sum(counts[mark] for mark in marks) for marks in (_YES, _NO, _LESS))
    has, findings = set(_YES), []
    if less and no:
        if less < max(yes, no):
            raise LabelError(
                "-1 stands beside 0 and 1, which leaves open what it means",
                "write 0 where an image does not have a label, and remove the rows where that is uncertain",
            )
        # Difficult to see, in the terms of PASCAL VOC.
        has.update(_NO)
        findings.append(Finding("cells with 0 beside 1 and -1, read as a difficult yes", _places(lines, cells, _NO)))
    empty_is_no = bool(counts[""]) and not (no or less)
    if empty_is_no:
        findings.append(Finding("empty cells in a file without 0, read as 0", _places(lines, cells, ("",))))
    return [
        None
        if not empty_is_no and "" in of_line.values()
        else frozenset(labels[column] for column, mark in of_line.items() if mark in has)
        for of_line in cells
    ], tuple(findings)


@lru_cache
def _fold(cell: Cell) -> str:
    text = cell if isinstance(cell, str) else repr(list(cell))
    return "" if is_missing(text) else text.strip().casefold()


def _places(lines: Sequence[Line], cells: Sequence[Mapping[int, str]], marks: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        line.place for line, of_line in zip(lines, cells, strict=True) for mark in of_line.values() if mark in marks
    )


def _refuse(lines: Sequence[Line], labels: Mapping[int, str], unknown: set[str]) -> None:
    place, column, cell = next(
        (line.place, column, line.cells[column])
        for line in lines
        for column in labels
        if _fold(line.cells[column]) in unknown
    )
    raise LabelError(
        f"{place}, column {shown(labels[column])}: {shown(str(cell))} is not 0, 1, true, false, yes or no",
        "correct it, or remove the column if it is not a label, or name the column of tags by --tags_column (the first "
        "line must be a header, with image_name above names and tags above lists of tags)",
    )
