"""Read tables: a column of names of images, and a column of tags or one column per label."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.labels import spelling
from pipelines.labels.columns import Columns, find_columns, is_single
from pipelines.labels.confidences import read_confidences
from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.marks import read_marks
from pipelines.labels.pairs import refuse_pairs
from pipelines.labels.rows import LabelFile, LabelOptions, Row
from pipelines.labels.tables import Line, Nested, Table
from pipelines.labels.tags import Tags, read_tags


def read(table: Table, options: LabelOptions) -> LabelFile:
    """Read names and tags as they are spelled, skipping rows that lack either.

    Raises:
      LabelError: the table cannot be understood.
    """
    columns = find_columns(table, options)
    _refuse_nested(table, columns)
    tags: Tags
    findings: Sequence[Finding]
    named = [line for line in table.lines if _name(line, columns)]
    nameless = tuple(line.place for line in table.lines if not _name(line, columns))
    names = [str(line.cells[columns.image]).strip() for line in named]
    if columns.tags:
        tags, findings = _read_tags(named, table, columns, options.separator)
        lacking = "rows without tags, skipped"
    else:
        tags, findings = read_marks(named, columns.labels, table.counts)
        lacking = "rows with an empty cell, skipped"
    every = {*columns.labels.values(), *(tag for of_row in tags for tag in of_row or ())}
    of_confidence: Sequence[Finding] = ()
    if columns.confidence is not None:
        tags, of_confidence = _without_refuted(named, tags, columns.confidence, table.names[columns.confidence])
    of_pairs = refuse_pairs(names, tags, named, columns.unread, columns.confidence)
    stray = tuple(name for name, line in zip(names, named, strict=True) if name != line.cells[columns.image])
    rows = [
        Row(name, of_row, not columns.tags, _kept(line, columns.kept))
        for name, of_row, line in zip(names, tags, named, strict=True)
        if of_row is not None
    ]
    return LabelFile(
        tuple(rows),
        tuple(sorted(every)),
        (
            *columns.findings,
            Finding("rows without an image name, skipped", nameless),
            Finding(lacking, tuple(name for name, of_row in zip(names, tags, strict=True) if of_row is None)),
            Finding("image names with surrounding spaces, trimmed", stray),
            *of_confidence,
            *of_pairs,
            *findings,
        ),
        is_closed=not columns.tags,
    )


def _read_tags(lines: Sequence[Line], table: Table, columns: Columns, separator: str) -> tuple[Tags, list[Finding]]:
    """Read the columns of tags, of which an image has those of all."""
    tags: Tags = [None] * len(lines)
    findings: list[Finding] = []
    for column in columns.tags:
        further, of_column = read_tags(lines, column, separator, is_single(table.names[column]))
        tags = [
            one if other is None else other | (one or frozenset()) for one, other in zip(tags, further, strict=True)
        ]
        findings += of_column
    empty = tuple(line.place for line, of_line in zip(lines, tags, strict=True) if of_line is not None and not of_line)
    return tags, [Finding("empty lists, read as no labels", empty), *findings]


def _refuse_nested(table: Table, columns: Columns) -> None:
    """Refuse objects and lists of lists, whose parts are not all names, and lists where there can be only one name."""
    wanted = dict.fromkeys(columns.kept, ("a string", "write a single string, number or date"))
    wanted[columns.image] = "a string", "write the name of the image alone, or name another column by --image_column"
    tags = "a string or a list of strings", "write the names of the tags alone, or name another column by --tags_column"
    wanted.update(dict.fromkeys(columns.tags, tags))
    for column, (kind, remedy) in wanted.items():
        for line in table.lines:
            cell = line.cells[column]
            if isinstance(cell, Nested) or (isinstance(cell, tuple) and column not in columns.tags):
                written = cell if isinstance(cell, Nested) else str(list(cell))
                raise LabelError(
                    f"{line.place}, column {shown(table.names[column])}: {shown(written)} is not {kind}", remedy
                )


def _name(line: Line, columns: Columns) -> str:
    return spelling.tidy(str(line.cells[columns.image]))


def _without_refuted(lines: Sequence[Line], tags: Tags, column: int, name: str) -> tuple[Tags, tuple[Finding, Finding]]:
    """Take the tags from lines with confidence 0; of a line without tags, nothing is known still."""
    confidences = read_confidences(lines, column, name)
    tagged = [(line.place, one) for line, one, found in zip(lines, confidences, tags, strict=True) if found]
    return [
        frozenset() if confidence == 0 and found else found for confidence, found in zip(confidences, tags, strict=True)
    ], (
        Finding(
            f"rows with {shown(name)} 0, whose tags are left out", tuple(place for place, one in tagged if one == 0)
        ),
        Finding(
            f"rows without {shown(name)}, whose tags are kept", tuple(place for place, one in tagged if one is None)
        ),
    )


def _kept(line: Line, columns: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(line.cells[column]).strip() for column in columns)
