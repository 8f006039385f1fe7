"""Read the column that says how sure a row's tag is: by 0, that the image does not have it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.labels.findings import LabelError, shown
from pipelines.labels.missing import is_missing
from pipelines.labels.tables import Cell, Line

_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


def read_confidences(lines: Sequence[Line], column: int, name: str) -> list[float | None]:
    """Read the confidence of each line, 0 or above; None if it is missing.

    Args:
      lines: of the table.
      column: that holds the confidences.
      name: of the column.

    Raises:
      LabelError: a cell is neither such a number nor true, false, yes or no.
    """
    found = {cell: _read(cell) for cell in {line.cells[column] for line in lines}}
    for line in lines:
        confidence = found[line.cells[column]]
        # False for nan, too.
        if confidence is not None and not 0 <= confidence < math.inf:
            written = shown(str(line.cells[column]))
            raise LabelError(
                f"{line.place}, column {shown(name)}: {written} is neither a number from 0 nor true, false, yes or no",
                "write 0 where an image does not have the tag, or remove the column if each image has the tags of all "
                "its rows",
            )
    return [found[line.cells[column]] for line in lines]


def _read(cell: Cell) -> float | None:
    """Return a confidence; nan of what is none."""
    if isinstance(cell, tuple):
        return math.nan
    if is_missing(cell):
        return None
    if (word := cell.strip().casefold()) in _WORDS:
        return _WORDS[word]
    try:
        return float(cell)
    except ValueError:
        return math.nan
