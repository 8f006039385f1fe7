"""Tell lists of tags from tables with a row for each pair of image and label, of which a column says whether it holds.

Without that column, which may have any name, each image would get every label. Lists of tags have further columns, too:
of annotators, weights and boxes. But in them, few images have most of the labels.
"""

from __future__ import annotations

import math
import re
from collections import Counter
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
_BEFORE_EDGE = re.compile("bbox|box|bndbox|boundingbox|rect")
_OBJECTS = frozenset(
    (
        *("bbox", "box", "bndbox", "boundingbox", "segmentation", "rle", "encodedpixels"),
        *("objectid", "instanceid", "boxid", "regionid"),
    )
)
_OF_OBJECTS_AND_ANNOTATORS = frozenset(
    (
        *("difficult", "isdifficult", "truncated", "istruncated", "occluded", "isoccluded", "crowd", "iscrowd"),
        *("isgroupof", "isdepiction", "isinside", "source", "labelsource"),
        *("annotationid", "annid", "rowid", "uuid", "guid"),
    )
)
_ANNOTATOR = re.compile(
    r"(?:annotator|annotatedby|labell?er|labell?edby|rater|ratedby|reviewer|reviewedby|worker|user|author|createdby|expert)"
    r"(?:id|name)?"
)
_MOST_WORDS = 3
_LEAVE_OUT = "leave out the rows of labels that an image lacks"


def may_say(columns: Mapping[int, str]) -> frozenset[int]:
    """Return which columns may say whether a row's tag holds, by what they are called.

    Args:
      columns: that are not read, and what each is called.
    """
    kinds = {_BEFORE_EDGE.sub("", kind) for kind in columns.values()}
    if len(_BOX & kinds) >= _EDGES or not _OBJECTS.isdisjoint(columns.values()):
        # A row for each object, which is there: its other columns say how it looks, or how sure a detector is of it.
        return frozenset()
    return frozenset(
        column
        for column, name in columns.items()
        if name not in _OF_OBJECTS_AND_ANNOTATORS and not _ANNOTATOR.fullmatch(name)
    )


def refuse_pairs(
    names: Sequence[str], tags: Tags, lines: Sequence[Line], columns: Mapping[int, str], confidence: int | None = None
) -> tuple[Finding, ...]:
    """Refuse rows for most pairs of image and label next to a column that may say which of them hold.

    It may if its cells differ between the rows of an image, and are marks, shares, amounts or up to three words; where
    there is a row for each pair, whatever they are. So may the confidence, where it has no 0 that would take a tag.

    If the rows are few, columns of marks are reported, as they may say so of the few that somebody has judged.

    Args:
      names: of the images, by row.
      tags: likewise.
      lines: the rows.
      columns: that may say so, and their names.
      confidence: column that has taken tags by 0; None if there is none.

    Raises:
      LabelError: there are such rows.
    """
    tagged = [number for number, of_row in enumerate(tags) if of_row]
    pairs = {(names[number], tags[number]) for number in tagged}
    images, every = len({name for name, _ in pairs}), len({of_row for _, of_row in pairs})
    if min(images, every) < 2 or len(pairs) == images:
        return ()
    # Each image has a label at least; of the others, most or at least half.
    is_complete, is_dense = len(pairs) == images * every, 2 * (len(pairs) - images) >= images * (every - 1)
    counts = {column: Counter(line.cells[column] for line in lines) for column in columns}
    usual = [column for column in columns if _differs(counts[column])]

    def differ(some: Sequence[int]) -> list[int]:
        return [column for column in some if _differs_within(names, lines, tagged, column, counts[column])]

    telling = (usual or differ([*columns])) if is_complete else differ(usual)
    if telling and is_dense:
        has = "each image has a row for each" if is_complete else "most images have a row for most"
        raise LabelError(
            f"{has} of {quantity(every, 'label')}, and column {shown(columns[telling[0]])} may say which of them hold",
            f"{_LEAVE_OUT}, or call that column confidence if it says so by 0, or remove it if it says something else",
        )
    if confidence is not None and is_dense:
        _refuse_confidences(names, lines, tagged, confidence, is_complete)
    of_marks = [
        column for column in telling if marks.tell_apart(counts[column]) and marks.are_all(marks.given(counts[column]))
    ]
    return (
        Finding(
            "columns of marks next to the tags, not read (called confidence, 0 would take the tag)",
            tuple(columns[column] for column in of_marks),
        ),
    )


def _refuse_confidences(
    names: Sequence[str], lines: Sequence[Line], tagged: Sequence[int], column: int, is_complete: bool
) -> None:
    """Refuse a confidence that takes no tag of an image: of any numbers from a model, or of 1 and nothing."""
    counts = Counter(lines[row].cells[column] for row in tagged)
    may_tell = is_complete or marks.is_one_or_nothing(counts)
    if may_tell and _differs_within(names, lines, tagged, column, counts):
        raise LabelError(
            "images have rows for most labels or all, and no confidence of 0 says which of them they lack",
            f"{_LEAVE_OUT}, or write 0 as their confidence, such as 0 below 0.5",
        )


def _differs(counts: Mapping[Cell, int]) -> bool:
    return marks.tell_apart(counts) or _are_amounts(counts) or _are_words(counts)


def _are_amounts(counts: Mapping[Cell, int]) -> bool:
    """Return whether cells are numbers that may say no: from 0, with more than one 0, or on both sides of it.

    The former count objects or are a share in percent; the latter are what a model returns.
    """
    numbers = {cell: _number(cell) for cell in marks.given(counts)}
    zeros = sum(counts[cell] for cell, number in numbers.items() if number == 0)
    are_finite = len(numbers) > 1 and all(map(math.isfinite, numbers.values()))
    least, most = (min(numbers.values()), max(numbers.values())) if are_finite else (0.0, 0.0)
    return (zeros > 1 and least == 0 < most) or least < 0 < most


def _are_words(counts: Mapping[Cell, int]) -> bool:
    """Return whether cells are a few different words, such as present and absent, or a tick and nothing."""
    words = marks.given(counts)
    if marks.is_one_or_nothing(counts):
        return counts[words[0]] > 1
    return 1 < len(words) <= _MOST_WORDS and all(math.isnan(_number(cell)) for cell in words)


def _number(cell: Cell) -> float:
    """Return the number in a cell; nan if there is none."""
    try:
        return float(cell.replace(",", ".")) if isinstance(cell, str) else math.nan
    except ValueError:
        return math.nan


def _differs_within(
    names: Sequence[str], lines: Sequence[Line], rows: Sequence[int], column: int, counts: Mapping[Cell, int]
) -> bool:
    """Return whether a column differs between the rows of an image: otherwise it is about images, not their labels."""
    first: dict[str, Cell] = {}
    cells = ((names[row], lines[row].cells[column]) for row in rows)
    is_tick = marks.is_one_or_nothing(counts)
    return any(first.setdefault(name, cell) != cell for name, cell in cells if cell or is_tick)
