"""Read label files of any multi-label image set: what each row calls its image, and the tags it gives it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from model.labels import spelling
from model.labels.findings import Finding, LabelError, shown, some_names
from pipelines.images.formats import ENDINGS

_MARKS = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}
_TAG_SEPARATORS = ";|,"
# The first separator outside of quotes in the first line that is not blank.
_DELIMITER = re.compile(r'(?:[ \t]*[\r\n])*(?:"[^"]*"|[^",;\t\r\n])*([,;\t])')
# The second is what pandas calls a column whose name it found empty.
_UNNAMED = re.compile(r"|Unnamed: \d+")
# Tags as Python and JSON write a list of texts.
_LIST = re.compile(r"""\s*[\[({]\s*['"].*['"],?\s*[\])}]\s*""", re.DOTALL)


class Row(NamedTuple):
    """One row of a label file: an image's name or path as written there, and its tags."""

    name: str
    tags: frozenset[str]


class LabelFile(NamedTuple):
    """What a label file says.

    Attributes:
      rows: in the order of the file; an image may come more than once.
      labels: all that the file knows, in alphabetical order, those included that no row has among its tags.
      findings: what was left out, ignored or merged.
    """

    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]


class _Line(NamedTuple):
    number: int
    cells: list[str]


class _Columns(NamedTuple):
    """Where to find what; without a column of tags, each of the others is a label."""

    name: int
    tags: int | None
    others: dict[int, str]


def read_labels(path: Path, known: Sequence[str] = ()) -> LabelFile:
    """Read a label file: CSV in UTF-8 of one of two formats, its cells separated by commas, semicolons or tabs.

    `image_name,tags` (or `labels`): tags are separated by spaces or, where any cell holds one, by `;`, `|` or `,`; a
    label may hold spaces then. `image_name,<label>,<label>,...`: a cell is 1, true or yes where the image has the
    label and 0, false or no where it has not. Without a column `image_name` the first one holds the names.

    Spellings of a label that differ in capitals, spaces or Unicode form become one: that of `known` (the labels of a
    model, say), else the most frequent, else the alphabetically first.

    Raises:
      LabelError: the file cannot be read or understood, or none of its rows can be used.
    """
    try:
        header, *lines = _parse(_decode(path.read_bytes()))
        columns = _find_columns(header, lines)
        rows, of_rows = _read_rows(lines, columns)
        findings = [finding for finding in (*_amiss_in_header(header, columns), *of_rows) if finding.names]
        if not rows:
            raise LabelError(f"no row can be used; {'; '.join(map(str, findings))}")
    except OSError as error:
        raise LabelError(f"{shown(str(path))}: {error.strerror}") from error
    except LabelError as error:
        raise LabelError(f"{shown(str(path))}: {error}") from error
    counts = Counter(tag for row in rows for tag in row.tags)
    if columns.tags is None:
        counts.update(dict.fromkeys(columns.others.values(), 0))
    chosen = spelling.choose(counts, known)
    merged = [spelling.describe(tag, counts[tag], other) for tag, other in sorted(chosen.items()) if tag != other]
    if merged:
        findings.append(Finding("spellings of labels, merged", tuple(merged)))
    return LabelFile(
        tuple(Row(row.name, frozenset(chosen[tag] for tag in row.tags)) for row in rows),
        tuple(sorted(set(chosen.values()))),
        tuple(findings),
    )


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
        # UTF-16 without a mark, like many a binary file, is valid UTF-8.
        if "\0" not in text:
            return text
    except UnicodeDecodeError:
        pass
    raise LabelError("not text in UTF-8; save it as CSV in UTF-8")


def _parse(text: str) -> list[_Line]:
    """Split a file into lines of cells; lines of nothing but blank cells are skipped."""
    found = _DELIMITER.match(text)
    delimiter = found[1] if found else ","
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        # Else the quotes of `train_0, "haze, primary"` would become part of the tags.
        skipinitialspace=re.search(f'{delimiter} +"', text) is not None,
        # Else a quote that nothing closes would swallow the rest of the file without a word.
        strict=True,
    )
    lines: list[_Line] = []
    number = 1
    try:
        for cells in reader:
            if lines and reader.line_num > number and _holds_lines(cells, delimiter, len(lines[0].cells)):
                raise LabelError(f"line {number}: a quoted cell runs on over further rows; quotes come in pairs")
            if any(map(str.strip, cells)):
                lines.append(_Line(number, cells))
            number = reader.line_num + 1
    except csv.Error as error:
        raise LabelError(f"line {number}: {shown(str(error))}; quotes come in pairs, around whole cells") from error
    if not lines:
        raise LabelError("the file is empty")
    return lines


def _holds_lines(cells: Sequence[str], delimiter: str, columns: int) -> bool:
    """Tell whether a cell holds what look like lines of the file: those between two quotes that nothing closed."""
    further = [line for cell in cells for line in re.split(r"[\r\n]+", cell)[1:]]
    return any(line.count(delimiter) >= max(columns - 1, 1) for line in further)


def _find_columns(header: _Line, lines: Sequence[_Line]) -> _Columns:
    """Tell by the header what each column holds, and check that every line has a cell for each."""
    names = [spelling.tidy(cell) for cell in header.cells]
    kinds = [re.sub(r"[\s_]", "", name).casefold() for name in names]
    tags = next((kinds.index(kind) for kind in ("tags", "labels") if kind in kinds), None)
    if "imagename" not in kinds and tags is None and lines and _looks_like_a_row(header, lines[0]):
        raise LabelError(
            f"line {header.number} looks like a row ({some_names(header.cells)}), not like a header; "
            "the first line must be image_name,tags or image_name and one column a label"
        )
    for line in lines:
        if len(line.cells) != len(names):
            raise LabelError(
                f"line {line.number} has not as many cells as the header: {len(line.cells)}, not {len(names)}; "
                "put quotes around a cell that holds the character between cells"
            )
    name = kinds.index("imagename") if "imagename" in kinds else _first_names(names, tags, lines)
    others = {
        column: other
        for column, other in enumerate(names)
        if column not in (name, tags) and not _UNNAMED.fullmatch(other)
    }
    if len(names) < 2 or (tags is None and not others):
        raise LabelError(
            "needs the columns image_name,tags, or image_name and one column a label, with commas, semicolons or tabs "
            f"between them; has {some_names(names)}"
        )
    seen: dict[str, str] = {}
    for cell in filter(None, names):
        if other := seen.get(spelling.key(cell)):
            raise LabelError(f"two columns have the same name: {shown(other)} and {shown(cell)}; remove or rename one")
        seen[spelling.key(cell)] = cell
    if not lines:
        raise LabelError("has a header, but no row")
    return _Columns(name, tags, others)


def _first_names(columns: Sequence[str], tags: int | None, lines: Sequence[_Line]) -> int:
    """Find the first column that is not of tags, and no index that pandas wrote before the names."""
    first, second = [*(column for column in range(len(columns)) if column != tags), 0, 0][:2]
    numbered = _UNNAMED.fullmatch(columns[first]) and all(line.cells[first].strip().isdigit() for line in lines)
    # The names are numbers themselves where nothing but marks follows: 0.jpg, 1.jpg.
    marked = all(line.cells[second].strip().casefold() in _MARKS for line in lines)
    return second if numbered and second and not marked else first


def _looks_like_a_row(header: _Line, first: _Line) -> bool:
    """Tell whether a header names an image, is like the name below but for its digits, or holds only marks."""
    name, below = (re.sub(r"\d+", "0", line.cells[0].strip()) for line in (header, first))
    marks = [cell.strip().casefold() in _MARKS for cell in header.cells[1:]]
    return name.lower().endswith(ENDINGS) or (name == below and "0" in name) or (bool(marks) and all(marks))


def _amiss_in_header(header: _Line, columns: _Columns) -> tuple[Finding, ...]:
    places = range(len(header.cells))
    unnamed = [column for column in places if column not in (columns.name, columns.tags, *columns.others)]
    stray = [name for column, name in columns.others.items() if name != header.cells[column]]
    return (
        Finding("columns without a name, ignored", tuple(f"column {column + 1}" for column in unnamed)),
        Finding("columns beside names and tags, ignored", tuple(columns.others.values()))
        if columns.tags is not None
        else Finding("labels with stray spaces in the header, read without them", tuple(stray)),
    )


def _read_rows(lines: Sequence[_Line], columns: _Columns) -> tuple[list[Row], list[Finding]]:
    """Read names and tags as they are spelled; rows that lack either are left out."""
    nameless = [f"line {line.number}" for line in lines if not line.cells[columns.name].strip()]
    named = [line for line in lines if line.cells[columns.name].strip()]
    findings: tuple[Finding, ...]
    names = [line.cells[columns.name].strip() for line in named]
    if columns.tags is None:
        tags, findings = _read_marks(named, columns.others), ()
        lacking = "rows with an empty cell, left out"
    else:
        tags, findings = _read_tags(named, columns.tags)
        lacking = "rows without tags, left out"
    stray = [name for name, line in zip(names, named, strict=True) if name != line.cells[columns.name]]
    read = list(zip(names, tags, strict=True))
    return [Row(name, of_row) for name, of_row in read if of_row is not None], [
        Finding("rows without an image name, left out", tuple(nameless)),
        Finding(lacking, tuple(name for name, of_row in read if of_row is None)),
        Finding("names with spaces around them, read without", tuple(stray)),
        *findings,
    ]


def _read_marks(lines: Sequence[_Line], labels: dict[int, str]) -> list[frozenset[str] | None]:
    """Read the tags of each line from a column for each label; None where a cell is empty."""
    tags: list[frozenset[str] | None] = []
    for line in lines:
        marks = {column: line.cells[column].strip().casefold() for column in labels}
        for column, mark in marks.items():
            if mark and mark not in _MARKS:
                raise LabelError(
                    f"line {line.number}, column {shown(labels[column])}: {shown(line.cells[column])} is none of 0, 1, "
                    "true, false, yes, no; correct it, or remove the column if it is no label (the first line must be "
                    "a header: image_name above names, tags above lists of tags)"
                )
        empty = not all(marks.values())
        tags.append(None if empty else frozenset(labels[column] for column, mark in marks.items() if _MARKS[mark]))
    return tags


def _read_tags(lines: Sequence[_Line], column: int) -> tuple[list[frozenset[str] | None], tuple[Finding, ...]]:
    """Read the tags of each line from one cell; None where it holds none."""
    first: dict[str, int] = {}
    for line in lines:
        if _LIST.fullmatch(line.cells[column]):
            raise LabelError(
                f"line {line.number}: {shown(line.cells[column])} is a list as Python or JSON writes it; "
                "write its tags alone, with spaces between them"
            )
        for mark in _TAG_SEPARATORS:
            if mark in line.cells[column]:
                first.setdefault(mark, line.number)
    if len(first) > 1:
        used = " and by ".join(f"{mark} (line {number})" for mark, number in first.items())
        raise LabelError(f"tags are separated by {used}; use one of them in the whole file")
    separator = next(iter(first), " ")
    tags: list[frozenset[str] | None] = []
    stray = []
    alone: dict[str, int] = {}
    beside: set[str] = set()
    for line in lines:
        cell = line.cells[column]
        parts = [spelling.tidy(part) for part in cell.split(None if separator == " " else separator) if part.strip()]
        tags.append(frozenset(parts) or None)
        if parts and cell not in (separator.join(parts), f"{separator} ".join(parts), f" {separator} ".join(parts)):
            stray.append(f"line {line.number}")
        if separator in cell:
            beside.update(parts)
        elif parts:
            alone.setdefault(parts[0], line.number)
    phrases = {tag: number for tag, number in alone.items() if " " in tag and tag not in beside}
    _refuse_mixture(phrases, beside.union(alone), separator, first)
    return tags, (
        Finding("rows with stray spaces or separators among their tags, read without", tuple(stray)),
        Finding(f"labels of several words that never stand beside {separator}, taken for one label", tuple(phrases)),
    )


def _refuse_mixture(phrases: dict[str, int], labels: set[str], separator: str, first: dict[str, int]) -> None:
    """Refuse a file that separates tags by spaces in some rows and by a mark in others.

    Else one row with a comma would make a label of every other row's cell: `phrases`, with the first line of each.
    Labels of several words that are meant as such are seldom made up of other labels only, and have more words than
    there are labels.
    """
    words = {word for phrase in phrases for word in phrase.split()}
    for phrase, number in phrases.items():
        if len(phrases) > len(words) or labels.issuperset(phrase.split()):
            raise LabelError(
                f"tags are separated by spaces in line {number} ({shown(phrase)}) and by {separator} in line "
                f"{first[separator]}; separate all tags of the file by {separator}"
            )
