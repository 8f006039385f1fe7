"""Tell lists of tags from tables with a row for each pair of image and label, of which a column says whether it holds.

Without that column, which may have any name, each image would get every label. Lists of tags have further columns, too:
of annotators, weights and boxes. But in them, few images have most of the labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipelines.errors import quantity
from pipelines.labels import marks
from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.tables import Cell, Line
from pipelines.labels.tags import Tags

# Names as `columns` compares them. Four of the first are a box; a single one may say anything, as in `image,label,y`.
_BOX = frozenset(
    (
        *("xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2", "x", "y", "w", "h", "width", "height"),
        *("left", "top", "right", "bottom", "xcenter", "ycenter", "xcentre", "ycentre", "cx", "cy"),
    )
)
_EDGES = 4
_OF_OBJECTS_AND_ANNOTATORS = frozenset(
    (
        *("difficult", "isdifficult", "truncated", "istruncated", "occluded", "isoccluded", "crowd", "iscrowd"),
        *("isgroupof", "isdepiction", "isinside"),
        *("annotator", "annotatorid", "worker", "workerid", "rater", "raterid", "user", "userid"),
    )
)
_MOST_WORDS = 3


def may_say(columns: Mapping[int, str], counts: Sequence[Mapping[Cell, int]]) -> frozenset[int]:
    """Return which columns may say whether a row's tag holds: of marks, shares, amounts, or up to three words.

    Args:
      columns: that are not read, and what each is called.
      counts: by column, how often each cell occurs.
    """
    if len(_BOX.intersection(columns.values())) >= _EDGES:
        # A row for each object, which is there: its other columns say how it looks, or how sure a detector is of it.
        return frozenset()
    return frozenset(
        column
        for column, name in columns.items()
        if name not in _OF_OBJECTS_AND_ANNOTATORS and _differs(counts[column])
    )


def refuse_pairs(
    names: Sequence[str], tags: Tags, lines: Sequence[Line], columns: Mapping[int, str]
) -> tuple[Finding, ...]:
    """Refuse rows for most pairs of image and label next to a column that may say which of them hold.

    If the rows are few, columns of marks are reported, as they may say so of the few that somebody has judged.

    Args:
      names: of the images, by row.
      tags: likewise.
      lines: the rows.
      columns: that may say so, and their names.

    Raises:
      LabelError: there are such rows.
    """
    tagged = [number for number, of_row in enumerate(tags) if of_row]
    pairs = {(names[number], tags[number]) for number in tagged}
    images, every = len({name for name, _ in pairs}), len({of_row for _, of_row in pairs})
    if not columns or min(images, every) < 2 or len(pairs) == images:
        return ()
    # Each image has a label at least; of the others, most or at least half.
    is_complete, is_dense = len(pairs) == images * every, 2 * (len(pairs) - images) >= images * (every - 1)
    telling = [column for column in columns if is_complete or _differs_within(names, lines, tagged, column)]
    if telling and is_dense:
        has = "each image has a row for each" if is_complete else "most images have a row for most"
        raise LabelError(
            f"{has} of {quantity(every, 'label')}, and column {shown(columns[telling[0]])} may say which of them hold",
            "leave out the rows of labels that an image lacks, or call that column confidence if it says so by 0, or "
            "remove it if it says something else",
        )
    of_marks = [column for column in telling if marks.are_all(marks.given(line.cells[column] for line in lines))]
    return (
        Finding(
            "columns of marks next to the tags, not read (called confidence, 0 would take the tag)",
            tuple(columns[column] for column in of_marks),
        ),
    )


def _differs(counts: Mapping[Cell, int]) -> bool:
    return marks.tell_apart(counts) or _are_amounts(counts) or _are_words(counts)


def _are_amounts(counts: Mapping[Cell, int]) -> bool:
    """Return whether cells are numbers from 0, with more than one 0: objects counted, or a share in percent."""
    numbers = {cell: _number(cell) for cell in marks.given(counts)}
    zeros = sum(counts[cell] for cell, number in numbers.items() if number == 0)
    return zeros > 1 and len(numbers) > 1 and all(0 <= number < math.inf for number in numbers.values())


def _are_words(counts: Mapping[Cell, int]) -> bool:
    """Return whether cells are a few different words, such as present and absent."""
    words = marks.given(counts)
    return 1 < len(words) <= _MOST_WORDS and all(math.isnan(_number(cell)) for cell in words)


def _number(cell: Cell) -> float:
    """Return the number in a cell; nan if there is none."""
    try:
        return float(cell.replace(",", ".")) if isinstance(cell, str) else math.nan
    except ValueError:
        return math.nan


def _differs_within(names: Sequence[str], lines: Sequence[Line], rows: Sequence[int], column: int) -> bool:
    """Return whether a column differs between the rows of an image: otherwise it is about images, not their labels."""
    first: dict[str, Cell] = {}
    return any(first.setdefault(names[row], cell) != cell for row in rows if (cell := lines[row].cells[column]))
