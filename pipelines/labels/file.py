"""Read the label file of any multi-label image set: one row per image, with its name and its tags."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.images.formats import ENDINGS
from pipelines.labels import spelling
from pipelines.labels.findings import Finding, LabelError, shown, some_names

_MARKS = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}
_TAG_SEPARATORS = ";|,"
_WITHOUT_SEPARATORS = dict.fromkeys(map(ord, _TAG_SEPARATORS))
# The first separator outside quotes in the first line that is not blank.
_DELIMITER = re.compile(r'(?:[ \t]*[\r\n])*(?:"[^"]*"|[^",;\t\r\n])*([,;\t])')
# The second is the name that pandas gives to an unnamed column.
_UNNAMED = re.compile(r"|Unnamed: \d+")
# Tags written as a Python or JSON list of strings.
_LIST = re.compile(r"""\s*[\[({]\s*['"].*['"],?\s*[\])}]\s*""", re.DOTALL)

_FORMATS = "image_name,tags, or image_name and one column per label"
_PAIRS = "check that quotes come in pairs, around whole cells"


class Row(NamedTuple):
    """One row of a label file: the name or path of an image as written there, and its tags."""

    name: str
    tags: frozenset[str]


class LabelFile(NamedTuple):
    """The content of a label file.

    Attributes:
      rows: in the order of the file; an image may occur more than once.
      labels: all labels of the file in alphabetical order, including those that no row has.
      findings: what was skipped, ignored or merged.
    """

    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]


class _Line(NamedTuple):
    number: int
    cells: list[str]


class _Columns(NamedTuple):
    """Which column holds what; without a column of tags, each of the others is a label."""

    name: int
    tags: int | None
    others: dict[int, str]


def read_labels(path: Path, known: Sequence[str] = ()) -> LabelFile:
    """Read a label file: CSV in UTF-8 in one of two formats, with commas, semicolons or tabs between cells.

    `image_name,tags` (or `labels`): tags are separated by spaces or, if any cell contains one, by `;`, `|` or `,`;
    labels may then contain spaces. `image_name,<label>,<label>,...`: a cell is 1, true or yes if the image has the
    label, and 0, false or no if it does not. Without a column `image_name`, the first column holds the names.

    Spellings of a label that differ in case, spaces or Unicode form are merged into one: that of `known` (e.g. the
    labels of a model), else the most frequent, else the alphabetically first. A blank label is none: a column without
    a name is ignored, a blank tag is removed, and both are reported.

    Raises:
      LabelError: the file cannot be read or understood, or none of its rows can be used.
    """
    try:
        header, *lines = _parse(_decode(path.read_bytes()))
        columns = _find_columns(header, lines)
        rows, of_rows = _read_rows(lines, columns)
        findings = [finding for finding in (*_header_findings(header, columns), *of_rows) if finding.names]
        if not rows:
            raise LabelError(f"no usable row: {'; '.join(map(str, findings))}")
    except OSError as error:
        raise LabelError(f"{shown(str(path))}: {error.strerror}") from error
    except LabelError as error:
        raise LabelError(f"{shown(str(path))}: {error.message}", error.remedy) from error
    counts = Counter(tag for row in rows for tag in row.tags)
    if columns.tags is None:
        counts.update(dict.fromkeys(columns.others.values(), 0))
    chosen = spelling.choose(counts, known)
    merged = [spelling.describe(tag, counts[tag], other) for tag, other in sorted(chosen.items()) if tag != other]
    if merged:
        findings.append(Finding("label spellings merged", tuple(merged)))
    return LabelFile(
        tuple(Row(row.name, frozenset(chosen[tag] for tag in row.tags)) for row in rows),
        tuple(sorted(set(chosen.values()))),
        tuple(findings),
    )


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
        # UTF-16 without a byte order mark, like many binary files, is valid UTF-8.
        if "\0" not in text:
            return text
    except UnicodeDecodeError:
        pass
    raise LabelError("not UTF-8 text", "save it as CSV in UTF-8")


def _parse(text: str) -> list[_Line]:
    """Split a file into lines of cells, skipping lines whose cells are all blank."""
    found = _DELIMITER.match(text)
    delimiter = found[1] if found else ","
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        # Otherwise the quotes of `train_0, "haze, primary"` would become part of the tags.
        skipinitialspace=re.search(f'{delimiter} +"', text) is not None,
        # Otherwise an unclosed quote would silently swallow the rest of the file.
        strict=True,
    )
    lines: list[_Line] = []
    number = 1
    try:
        for cells in reader:
            if lines and reader.line_num > number and _holds_lines(cells, delimiter, len(lines[0].cells)):
                raise LabelError(f"line {number}: a quoted cell runs into the next rows", _PAIRS)
            if any(map(str.strip, cells)):
                lines.append(_Line(number, cells))
            number = reader.line_num + 1
    except csv.Error as error:
        raise LabelError(f"line {number}: {shown(str(error))}", _PAIRS) from error
    if not lines:
        raise LabelError("the file is empty")
    return lines


def _holds_lines(cells: Sequence[str], delimiter: str, columns: int) -> bool:
    """Return whether a cell contains what look like lines of the file, caught between two unclosed quotes."""
    further = [line for cell in cells for line in re.split(r"[\r\n]+", cell)[1:]]
    return any(line.count(delimiter) >= max(columns - 1, 1) for line in further)


def _find_columns(header: _Line, lines: Sequence[_Line]) -> _Columns:
    """Find out from the header what each column holds, and check that every line has a cell for each."""
    names = [spelling.tidy(cell) for cell in header.cells]
    kinds = [re.sub(r"[\s_]", "", name).casefold() for name in names]
    tags = next((kinds.index(kind) for kind in ("tags", "labels") if kind in kinds), None)
    if "imagename" not in kinds and tags is None and lines and _looks_like_a_row(header, lines[0]):
        raise LabelError(
            f"line {header.number} looks like a row ({some_names(header.cells)}), not a header",
            f"start the file with a header: {_FORMATS}",
        )
    for line in lines:
        if len(line.cells) != len(names):
            raise LabelError(
                f"line {line.number}: number of cells is {len(line.cells)}, but the header has {len(names)}",
                "put quotes around a cell that contains the separator",
            )
    name = kinds.index("imagename") if "imagename" in kinds else _first_names(names, tags, lines)
    others = {
        column: other
        for column, other in enumerate(names)
        if column not in (name, tags) and not _UNNAMED.fullmatch(other)
    }
    if len(names) < 2 or (tags is None and not others):
        raise LabelError(
            f"unusable header: {some_names(names)}", f"use {_FORMATS}, separated by commas, semicolons or tabs"
        )
    seen: dict[str, str] = {}
    for cell in filter(None, names):
        if other := seen.get(spelling.key(cell)):
            raise LabelError(
                f"two columns have the same name: {shown(other)} and {shown(cell)}", "remove or rename one"
            )
        seen[spelling.key(cell)] = cell
    if not lines:
        raise LabelError("has a header but no rows")
    return _Columns(name, tags, others)


def _first_names(columns: Sequence[str], tags: int | None, lines: Sequence[_Line]) -> int:
    """Find the first column that holds neither tags nor an index that pandas wrote before the names."""
    first, second = [*(column for column in range(len(columns)) if column != tags), 0, 0][:2]
    numbered = _UNNAMED.fullmatch(columns[first]) and all(line.cells[first].strip().isdigit() for line in lines)
    # If only marks follow, the numbers are the names themselves: 0.jpg, 1.jpg.
    marked = all(line.cells[second].strip().casefold() in _MARKS for line in lines)
    return second if numbered and second and not marked else first


def _looks_like_a_row(header: _Line, first: _Line) -> bool:
    """Return whether a header names an image, differs from the name below only in digits, or has only marks."""
    name, below = (re.sub(r"\d+", "0", line.cells[0].strip()) for line in (header, first))
    marks = [cell.strip().casefold() in _MARKS for cell in header.cells[1:]]
    return name.lower().endswith(ENDINGS) or (name == below and "0" in name) or (bool(marks) and all(marks))


def _header_findings(header: _Line, columns: _Columns) -> tuple[Finding, ...]:
    places = range(len(header.cells))
    unnamed = [column for column in places if column not in (columns.name, columns.tags, *columns.others)]
    stray = [name for column, name in columns.others.items() if name != header.cells[column]]
    return (
        Finding("columns without a name, ignored", tuple(f"column {column + 1}" for column in unnamed)),
        Finding("columns other than names and tags, ignored", tuple(columns.others.values()))
        if columns.tags is not None
        else Finding("labels with stray spaces in the header, trimmed", tuple(stray)),
    )


def _read_rows(lines: Sequence[_Line], columns: _Columns) -> tuple[list[Row], list[Finding]]:
    """Read names and tags as they are spelled, skipping rows that lack either."""
    nameless = [f"line {line.number}" for line in lines if not spelling.tidy(line.cells[columns.name])]
    named = [line for line in lines if spelling.tidy(line.cells[columns.name])]
    findings: tuple[Finding, ...]
    names = [line.cells[columns.name].strip() for line in named]
    if columns.tags is None:
        tags, findings = _read_marks(named, columns.others), ()
        lacking = "rows with an empty cell, skipped"
    else:
        tags, findings = _read_tags(named, columns.tags)
        lacking = "rows without tags, skipped"
    stray = [name for name, line in zip(names, named, strict=True) if name != line.cells[columns.name]]
    read = list(zip(names, tags, strict=True))
    return [Row(name, of_row) for name, of_row in read if of_row is not None], [
        Finding("rows without an image name, skipped", tuple(nameless)),
        Finding(lacking, tuple(name for name, of_row in read if of_row is None)),
        Finding("image names with surrounding spaces, trimmed", tuple(stray)),
        *findings,
    ]


def _read_marks(lines: Sequence[_Line], labels: dict[int, str]) -> list[frozenset[str] | None]:
    """Read the tags of each line from one column per label; None if a cell is empty."""
    tags: list[frozenset[str] | None] = []
    for line in lines:
        marks = {column: line.cells[column].strip().casefold() for column in labels}
        for column, mark in marks.items():
            if mark and mark not in _MARKS:
                raise LabelError(
                    f"line {line.number}, column {shown(labels[column])}: {shown(line.cells[column])} is not 0, 1, "
                    "true, false, yes or no",
                    "correct it, or remove the column if it is not a label (the first line must be a header, with "
                    "image_name above names and tags above lists of tags)",
                )
        empty = not all(marks.values())
        tags.append(None if empty else frozenset(labels[column] for column, mark in marks.items() if _MARKS[mark]))
    return tags


def _read_tags(lines: Sequence[_Line], column: int) -> tuple[list[frozenset[str] | None], tuple[Finding, ...]]:
    """Read the tags of each line from one cell; None if it has none."""
    # A cell of separators alone must not decide how the tags of all other rows are split.
    cells = [
        cell if spelling.tidy(cell.translate(_WITHOUT_SEPARATORS)) else ""
        for cell in (line.cells[column] for line in lines)
    ]
    first: dict[str, int] = {}
    for line, cell in zip(lines, cells, strict=True):
        if _LIST.fullmatch(cell):
            raise LabelError(
                f"line {line.number}: {shown(cell)} is a Python or JSON list",
                "write the tags alone, separated by spaces",
            )
        for mark in _TAG_SEPARATORS:
            if mark in cell:
                first.setdefault(mark, line.number)
    if len(first) > 1:
        used = " and by ".join(f"{mark} (line {number})" for mark, number in first.items())
        raise LabelError(f"tags are separated by {used}", "use the same separator in the whole file")
    separator = next(iter(first), None)
    mark = separator or " "
    joints = (mark, f"{mark} ", f" {mark} ")
    tags: list[frozenset[str] | None] = []
    stray = []
    alone: dict[str, int] = {}
    combined: set[str] = set()
    for line, cell in zip(lines, cells, strict=True):
        parts = [part for part in map(spelling.tidy, cell.split(separator)) if part]
        tags.append(frozenset(parts) or None)
        if parts and cell not in [joint.join(parts) for joint in joints]:
            stray.append(f"line {line.number}")
        if mark in cell:
            combined.update(parts)
        elif parts:
            alone.setdefault(parts[0], line.number)
    phrases = {tag: number for tag, number in alone.items() if " " in tag and tag not in combined}
    _refuse_mixture(phrases, combined.union(alone), first)
    return tags, (
        Finding("rows with stray spaces or separators in the tags, cleaned", tuple(stray)),
        Finding(f"multi-word labels never seen next to a '{mark}', not split", tuple(phrases)),
    )


def _refuse_mixture(phrases: dict[str, int], labels: set[str], first: dict[str, int]) -> None:
    """Refuse a file that separates tags by spaces in some rows and by a mark in others.

    Otherwise a single row with a comma would turn the cell of every other row into a label: `phrases`, with the first
    line of each. Labels that really have several words are seldom made up of other labels only, and contain more
    different words than there are such labels.
    """
    if not phrases:
        return
    [(separator, marked)] = first.items()
    words = {word for phrase in phrases for word in phrase.split()}
    for phrase, number in phrases.items():
        if len(phrases) > len(words) or labels.issuperset(phrase.split()):
            raise LabelError(
                f"tags are separated by spaces in line {number} ({shown(phrase)}) and by {separator} in line {marked}",
                f"separate all tags in the file by {separator}",
            )
