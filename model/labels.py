"""Read label files and match their rows with images.

Two formats: a column of names and one of tags, as on Kaggle (`image_name,tags`), or a column of names and one of 0
and 1 for each label. What is amiss with a file is either found, counted and left out, or refused in one line.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines import images

NAMES_SHOWN = 3

_NAME_COLUMN = "image_name"
_TAGS_COLUMNS = ("tags", "labels")
_SEPARATORS = (";", "|", ",")
_MARKS = {"0": False, "0.0": False, "false": False, "no": False, "1": True, "1.0": True, "true": True, "yes": True}


class LabelError(ValueError):
    """A label file that cannot be used; the message is one line for the user."""


class Finding(NamedTuple):
    """Something amiss that did not stop us, what became of it, and whom it concerns."""

    what: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.names)} {self.what}: {some_names(self.names)}"


class Row(NamedTuple):
    """One row of a label file: an image's name as written there, and its tags."""

    name: str
    tags: frozenset[str]


class LabelFile(NamedTuple):
    """What a label file says: its rows, all labels that it knows in alphabetical order, and what was amiss."""

    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]


class LabelledImages(NamedTuple):
    """Images that have a row, in the order of the label file, with their tags, and what was amiss."""

    paths: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    findings: tuple[Finding, ...]


class _Line(NamedTuple):
    number: int
    cells: list[str]


def read_labels(path: Path, known: Sequence[str] = ()) -> LabelFile:
    """Read a label file of either format.

    Args:
      path: CSV in UTF-8, its columns separated by commas, semicolons or tabs.
      known: spellings of labels to prefer, such as those of a model.

    Raises:
      LabelError: the file cannot be read, is of neither format, or contradicts itself.
    """
    header, lines = _read_lines(path)
    columns = [_plain(cell).lower() for cell in header.cells]
    tags_column = next((columns.index(name) for name in _TAGS_COLUMNS if name in columns), None)
    name_column = columns.index(_NAME_COLUMN) if _NAME_COLUMN in columns else int(tags_column == 0)
    if tags_column is not None and len(columns) > 1:
        tags, findings = _read_tags(path, lines, tags_column)
        others = [name for i, name in enumerate(header.cells) if i not in (name_column, tags_column)]
    else:
        tags, findings, others = _read_marks(path, header, lines, name_column)
    if others:
        findings.append(Finding("columns that hold no labels, left out", tuple(name or "unnamed" for name in others)))
    tags, merged = _merge_spellings(tags, known)
    rows, nameless, stray = [], [], []
    for line, of_row in zip(lines, tags, strict=True):
        name = line.cells[name_column]
        if not name.strip():
            nameless.append(f"line {line.number}")
        elif of_row is not None:
            rows.append(Row(_plain(name), of_row))
            stray += [name.strip()] if name != name.strip() else []
    findings += merged
    findings += _found("rows without an image name, left out", nameless)
    findings += _found("names with spaces around them, read without", stray)
    if not rows:
        raise LabelError(f"{path}: has no row that could be used{''.join(f'; {finding}' for finding in findings)}")
    labels = vocabulary(of_row for of_row in tags if of_row is not None)
    if not labels:
        raise LabelError(f"{path}: no row has a label")
    return LabelFile(tuple(rows), labels, tuple(findings))


def find_images(folder: Path) -> list[Path]:
    """Find the images under a folder by the endings of their names, in alphabetical order.

    Raises:
      LabelError: there is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.ENDINGS and path.is_file())
    if not files:
        raise LabelError(f"{folder}: no image in this folder (endings: {' '.join(images.ENDINGS)})")
    return files


def match(rows: Sequence[Row], paths: Sequence[str], where: str) -> LabelledImages:
    """Match rows with images by their names.

    A row names an image by its file name, with or without its ending, or by the end of its path; upper and lower case
    count only where both occur.

    Args:
      rows: of a label file.
      paths: of the images, local or in a bucket.
      where: what holds the images, for messages.

    Raises:
      LabelError: no row names any image, or a name fits several.
    """
    index = _Index(paths)
    tags_of: dict[str, frozenset[str]] = {}
    missing, repeated, contradicting = [], [], []
    for row in rows:
        fitting = index.find(row.name)
        if len(fitting) > 1:
            raise LabelError(
                f"{_short(row.name)}: fits several images: {some_names(fitting)}; name a folder with one of them only, "
                "or write their paths into the label file"
            )
        if not fitting:
            missing.append(row.name)
        elif fitting[0] not in tags_of:
            tags_of[fitting[0]] = row.tags
        elif tags_of[fitting[0]] == row.tags:
            repeated.append(row.name)
        else:
            contradicting.append(fitting[0])
    if not tags_of:
        raise LabelError(
            f"no row names an image of {where}: rows such as {some_names(missing)}; "
            f"images such as {some_names(PurePosixPath(path).name for path in paths)}"
        )
    rowless = [PurePosixPath(path).name for path in paths if path not in tags_of]
    for path in contradicting:
        tags_of.pop(path, None)
    return LabelledImages(
        tuple(tags_of),
        tuple(tags_of.values()),
        (
            *_found("rows that repeat another, counted once", repeated),
            *_found(
                "images whose rows contradict one another, left out",
                [PurePosixPath(path).name for path in dict.fromkeys(contradicting)],
            ),
            *_found("rows without an image, left out", missing),
            *_found("images without a row, left out", rowless),
        ),
    )


def vocabulary(tags: Iterable[frozenset[str]]) -> tuple[str, ...]:
    """List every tag that occurs, in alphabetical order."""
    return tuple(sorted(frozenset().union(*tags)))


def multi_hot(tags: Sequence[frozenset[str]], labels: Sequence[str]) -> NDArray[np.float32]:
    """Mark the tags of each image: float32 [N, L], 1.0 where image n has label l, else 0.0."""
    return np.array([[label in of_image for label in labels] for of_image in tags], np.float32).reshape(-1, len(labels))


def some_names(names: Iterable[str]) -> str:
    """Join the first few names for a message of one line."""
    every = list(names)
    return ", ".join(map(_short, every[:NAMES_SHOWN])) + (", ..." if len(every) > NAMES_SHOWN else "")


class _Index:
    """Finds images by what a row may call them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        self._by_folded: dict[str, list[str]] = {}
        for path in paths:
            name = PurePosixPath(_plain(path))
            self._by_name.setdefault(name.name, []).append(path)
            self._by_stem.setdefault(name.stem, []).append(path)
            for folded in {name.name.casefold(), name.stem.casefold()}:
                self._by_folded.setdefault(folded, []).append(path)

    def find(self, name: str) -> list[str]:
        """List the images that a row's name fits."""
        path = PurePosixPath(_plain(name.replace("\\", "/")))
        for found in (
            self._by_name.get(path.name),
            self._by_stem.get(path.name),
            self._by_folded.get(path.name.casefold()),
        ):
            fitting = [candidate for candidate in found or () if self._ends_with(candidate, path)]
            if fitting:
                return fitting
        return []

    @staticmethod
    def _ends_with(candidate: str, path: PurePosixPath) -> bool:
        """Tell whether the folders that a row names are those of an image."""
        folders = path.parent.parts
        return not folders or PurePosixPath(_plain(candidate)).parent.parts[-len(folders) :] == folders


def _read_lines(path: Path) -> tuple[_Line, list[_Line]]:
    """Read a CSV file whose lines all have as many cells as its header."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LabelError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if "\0" in text:
        raise LabelError(f"{path}: not a CSV file in UTF-8 (it holds zero bytes)")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True), delimiter=delimiter)
    try:
        lines = [_Line(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise LabelError(f"{path}: line {reader.line_num} is no CSV ({error})") from error
    if len(lines) < 2:
        raise LabelError(f"{path}: has no row")
    header = lines[0]
    for line in lines:
        if len(line.cells) != len(header.cells):
            raise LabelError(
                f"{path}: line {line.number} has {len(line.cells)} columns and the header {len(header.cells)}; "
                "put quotes around tags that are separated by commas"
            )
    names = Counter(_key(cell) for cell in header.cells if cell.strip())
    twice = [_plain(cell) for cell in header.cells if names[_key(cell)] > 1]
    if twice:
        raise LabelError(f"{path}: has several columns of the same name: {some_names(twice)}")
    return header, lines[1:]


def _read_tags(path: Path, lines: Sequence[_Line], column: int) -> tuple[list[frozenset[str] | None], list[Finding]]:
    """Read the tags of each row from one column; None where it has none."""
    cells = [line.cells[column] for line in lines]
    used = [separator for separator in _SEPARATORS if any(separator in cell for cell in cells)]
    if len(used) > 1:
        raise LabelError(f"{path}: tags are separated by {' and by '.join(used)}; use one of them, or spaces alone")
    separator = used[0] if used else None  # None is any white space
    tags = [frozenset(filter(None, map(_plain, cell.split(separator)))) or None for cell in cells]
    empty = [f"line {line.number}" for line, of_row in zip(lines, tags, strict=True) if not of_row]
    stray = [f"line {line.number}" for line, cell in zip(lines, cells, strict=True) if cell != " ".join(cell.split())]
    return tags, [
        *_found("rows without tags, left out", empty),
        *_found("rows with stray spaces among their tags, read without", stray),
    ]


def _read_marks(
    path: Path, header: _Line, lines: Sequence[_Line], name_column: int
) -> tuple[list[frozenset[str] | None], list[Finding], list[str]]:
    """Read the tags of each row from a column for each label; None where a cell is empty."""
    columns = {i: _plain(cell) for i, cell in enumerate(header.cells) if i != name_column and cell.strip()}
    unnamed = [cell for i, cell in enumerate(header.cells) if i != name_column and not cell.strip()]
    if not columns or _MARKS.keys() >= {name.lower() for name in columns.values()}:
        raise LabelError(
            f"{path}: the first line must name the columns: image_name,tags, or image_name and one column a label; "
            f"it has {some_names(header.cells)}"
        )
    tags: list[frozenset[str] | None] = []
    unmarked = []
    for line in lines:
        marks = {label: line.cells[i].strip().lower() for i, label in columns.items()}
        wrong = next((label for label, mark in marks.items() if mark and mark not in _MARKS), None)
        if wrong is not None:
            raise LabelError(
                f"{path}: line {line.number}, column {_short(wrong)}: {_short(marks[wrong])!r} is not 0 or 1; remove "
                "the column if it is no label, or call it tags if it lists them"
            )
        if all(marks.values()):
            tags.append(frozenset(label for label, mark in marks.items() if _MARKS[mark]))
        else:
            tags.append(None)
            unmarked.append(f"line {line.number}")
    stray = [name.strip() for name in header.cells if name != name.strip()]
    return (
        tags,
        [
            *_found("rows with an empty cell, left out", unmarked),
            *_found("column names with spaces around them, read without", stray),
        ],
        unnamed,
    )


def _merge_spellings(
    tags: Sequence[frozenset[str] | None], known: Sequence[str]
) -> tuple[list[frozenset[str] | None], list[Finding]]:
    """Give labels that differ in capitals or spaces one spelling: the known one, or else the most frequent."""
    counts = Counter(tag for of_row in tags for tag in of_row or ())
    spelling = {_key(tag): tag for tag in sorted(counts, key=lambda tag: (counts[tag], [-ord(c) for c in tag]))}
    spelling |= {_key(tag): tag for tag in known}
    merged = [f"{tag} ({counts[tag]} rows) into {spelling[_key(tag)]}" for tag in counts if spelling[_key(tag)] != tag]
    if not merged:
        return list(tags), []
    return (
        [None if of_row is None else frozenset(spelling[_key(tag)] for tag in of_row) for of_row in tags],
        [Finding("spellings of labels, merged", tuple(sorted(merged)))],
    )


def _found(what: str, names: Sequence[str]) -> Iterator[Finding]:
    if names:
        yield Finding(what, tuple(names))


def _plain(text: str) -> str:
    """Write a text in its one Unicode form, without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def _key(label: str) -> str:
    """What spellings of one label have in common."""
    return " ".join(_plain(label).casefold().split())


def _short(name: str) -> str:
    on_one_line = " ".join(name.split())
    return on_one_line if len(on_one_line) <= 80 else f"{on_one_line[:79]}…"
