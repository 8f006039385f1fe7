"""Read tags from one column per label, whose cells say whether an image has it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.missing import is_missing
from pipelines.labels.tables import Cell, Line

VOC = frozenset(
    (
        *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
        *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    )
)
"""The classes of PASCAL VOC, the set in which 0 next to 1 and -1 is known to mean "present, but difficult to see"."""

_YES = ("1", "true", "yes", "y", "x")
_NO = ("0", "false", "no", "n")
_LESS = ("-1",)
# As NumPy and spreadsheets write them: `1.000000e+00`, `0.00`.
_NUMBER = re.compile(r"([+-]?)([01])(?:\.0*)?(?:e[+-]?0+)?")
_KNOWN = frozenset((*_YES, *_NO, *_LESS))
# Columns may be called x and y.
_PLAIN = _KNOWN - {"x", "y", "n"}


def are_all(cells: Iterable[Cell]) -> bool:
    """Return whether there are cells, and all of them are marks, in digits or whole words."""
    folded = set(map(_fold, cells))
    return bool(folded) and folded <= _PLAIN


def given(cells: Iterable[Cell]) -> list[Cell]:
    """Return the cells that are not empty, and no mark for a missing value."""
    return [cell for cell in cells if _fold(cell)]


def may_be(counts: Mapping[Cell, int]) -> bool:
    """Return whether a column may be a label: at least half of its cells with a value are marks."""
    values = {cell for cell in counts if _fold(cell)}
    return 2 * _total(counts, {cell for cell in values if _fold(cell) in _KNOWN}) >= _total(counts, values)


def is_one_or_nothing(counts: Mapping[Cell, int]) -> bool:
    """Return whether cells are empty or the same, as where only 1 is written: nobody knows what the others mean."""
    return len(set(map(_fold, given(counts)))) == 1 and len(given(counts)) < len(counts)


def tell_apart(counts: Mapping[Cell, int]) -> bool:
    """Return whether a column has marks, or shares from 0 to 1, which differ between rows."""
    folded = set(map(_fold, counts)) - {""}
    return len(folded) > 1 and all(mark in _PLAIN or _is_share(mark) for mark in folded)


def are_shares(counts: Mapping[Cell, int]) -> bool:
    """Return whether a column has numbers from 0 to 1 alone, and some between."""
    folded = set(map(_fold, counts)) - {""}
    return all(map(_is_share, folded)) and not folded <= _KNOWN


def read_marks(
    lines: Sequence[Line], labels: Mapping[int, str], counts: Sequence[Mapping[Cell, int]]
) -> tuple[list[frozenset[str] | None], tuple[Finding, ...]]:
    """Read the tags of each line; None if a cell has no value.

    Args:
      lines: of the table.
      labels: columns, and the label of each.
      counts: by column, how often each cell occurs.

    Raises:
      LabelError: a cell is no mark, or it is unclear what -1 means.
    """
    cells: Counter[Cell] = Counter()
    for column in labels:
        cells.update(counts[column])
    marks = {cell: _fold(cell) for cell in cells}
    if unknown := {cell for cell, mark in marks.items() if mark and mark not in _KNOWN}:
        _refuse(lines, labels, unknown)
    yes, no, less, empty = ({cell for cell, mark in marks.items() if mark in of} for of in (_YES, _NO, _LESS, ("",)))
    findings = []
    if less and no:
        # Elsewhere, the frequent one may mean "unknown", and the other one "no".
        is_voc = VOC.issuperset(map(str.casefold, labels.values())) and _total(cells, no) <= _total(cells, yes)
        if not is_voc or _total(cells, less) < _total(cells, yes):
            raise LabelError(
                "-1 occurs next to 0 and 1, which leaves open what it means",
                "write 0 where an image does not have a label, and remove the rows where that is uncertain",
            )
        findings.append(
            Finding("cells with 0 next to 1 and -1, read as present (difficult)", _places(lines, labels, no))
        )
        yes |= no
    elif empty and not (no or less):
        findings.append(Finding("empty cells in a file without 0, read as 0", _places(lines, labels, empty)))
        empty = set()
    return [
        None
        if empty and any(line.cells[column] in empty for column in labels)
        else frozenset([label for column, label in labels.items() if line.cells[column] in yes])
        for line in lines
    ], tuple(findings)


def _fold(cell: Cell) -> str:
    text = cell if isinstance(cell, str) else repr(list(cell))
    mark = "" if is_missing(text) else text.strip().casefold()
    number = _NUMBER.fullmatch(mark)
    return mark if number is None else f"{number[1]}{number[2]}".replace("+", "").replace("-0", "0")


def _is_share(text: str) -> bool:
    try:
        # Spreadsheets of many countries write a comma.
        return 0 <= float(text.replace(",", ".")) <= 1
    except ValueError:
        return False


def _total(cells: Mapping[Cell, int], some: set[Cell]) -> int:
    return sum(cells[cell] for cell in some)


def _places(lines: Sequence[Line], labels: Mapping[int, str], some: set[Cell]) -> tuple[str, ...]:
    return tuple(line.place for line in lines for column in labels if line.cells[column] in some)


def _refuse(lines: Sequence[Line], labels: Mapping[int, str], unknown: set[Cell]) -> None:
    """Refuse the first cell that is no mark; lines without the name of an image do not count."""
    for line in lines:
        for column, label in labels.items():
            if line.cells[column] in unknown:
                raise LabelError(
                    f"{line.place}, column {shown(label)}: {shown(str(line.cells[column]))} is not 0, 1, true, false, "
                    "yes or no",
                    "correct it, or remove the column if it is not a label, or name the column of tags by "
                    "--tags_column (the first line must be a header, with image_name above names and tags above lists "
                    "of tags)",
                )
