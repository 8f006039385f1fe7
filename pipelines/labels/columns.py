"""Find out which column of a table holds what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.images.formats import ENDINGS
from pipelines.labels import marks, spelling
from pipelines.labels.findings import Finding, LabelError, shown, some_names
from pipelines.labels.rows import LabelOptions
from pipelines.labels.tables import Line, Table

# Names as `_kind` writes them; where a table has several, the first of these counts.
_IMAGE_COLUMNS = (
    *("imagename", "imagefilename", "filename", "imagefile", "imagepath", "imgpath", "filepath", "imgname"),
    *("image", "img", "file", "fname", "path", "imageindex", "imageid", "imgid", "patchid", "patch", "name", "id"),
)
_LISTS = ("tags", "labels", "findinglabels", "labelnames", "classnames")
_SINGLE = ("tag", "labelname", "classname", "categoryname", "label", "class", "category", "genre", "target", "finding")
_TAGS_COLUMNS = (*_LISTS, *_SINGLE, "classes", "categories", "genres", "attributeids", "targets")
_NO_LABELS = frozenset(
    (
        *("isvalid", "isval", "isvalidation", "istrain", "istraining", "istest"),
        *("fold", "folds", "kfold", "split", "datasplit", "subset", "partition"),
    )
)
# The second is the name that pandas gives to an unnamed column.
_UNNAMED = re.compile(r"|Unnamed: \d+")

_FORMATS = "image_name,tags, or image_name and one column per label"


class Columns(NamedTuple):
    """Which column holds what, by its place in the table.

    Attributes:
      image: of the names of images.
      tags: of tags; None if each of `labels` is a label.
      labels: columns that are labels, and their names.
      kept: those of `LabelOptions.keep`.
      findings: on columns that are ignored.
    """

    image: int
    tags: int | None
    labels: dict[int, str]
    kept: tuple[int, ...]
    findings: tuple[Finding, ...]


def find_columns(table: Table, options: LabelOptions) -> Columns:
    """Find out from header, cells and options what each column holds, and check that each line has all cells.

    Raises:
      LabelError: the header cannot be understood, or lacks a column of the options.
    """
    names = [spelling.tidy(name) for name in table.names]
    kinds = list(map(_kind, names))
    if not (options.image_column or options.tags_column or {*_IMAGE_COLUMNS, *_TAGS_COLUMNS} & set(kinds)):
        _refuse_row_as_header(table)
    _check_lines(table)
    _refuse_twins(names)
    kept = tuple(_named(column, "column to keep", names) for column in options.keep)
    wanted = _named(options.image_column, "--image_column", names) if options.image_column else None
    in_columns = options.tags_column == "none"
    named_tags = _named(options.tags_column, "--tags_column", names) if options.tags_column and not in_columns else None
    if wanted is not None and wanted == named_tags:
        raise LabelError(
            f"--image_column and --tags_column are both {shown(names[wanted])}", "name the column of the images"
        )
    of_marks = {column for column in range(len(names)) if _holds_marks(table, column)}
    candidates = [kinds.index(kind) for kind in _TAGS_COLUMNS if kind in kinds and kinds.index(kind) != wanted]
    tags = named_tags if named_tags is not None or in_columns else next(iter(candidates), None)
    image = wanted if wanted is not None else _find_names(table, names, kinds, tags, of_marks)
    others = {
        column: name
        for column, name in enumerate(names)
        if column != image and column not in kept and not _UNNAMED.fullmatch(name)
    }
    # A label may be called like a column of tags.
    labels = {column: name for column, name in others.items() if kinds[column] not in _NO_LABELS}
    if named_tags is None and tags in of_marks and of_marks & (labels.keys() - {tags}):
        tags = None
    if len(names) < 2 or image == tags or (tags is None and not labels):
        raise LabelError(
            f"unusable header: {some_names(names)}",
            f"use {_FORMATS}, separated by commas, semicolons or tabs, or name columns by --image_column and "
            "--tags_column",
        )
    if not table.lines:
        raise LabelError("has a header but no rows")
    unnamed = [f"column {column + 1}" for column, name in enumerate(names) if _is_nameless(column, name, image, tags)]
    findings = [Finding("columns without a name, ignored", tuple(unnamed))]
    if tags is not None:
        ignored = tuple(name for column, name in others.items() if column != tags)
        findings.append(Finding("columns other than names and tags, ignored", ignored))
        return Columns(image, tags, {}, kept, tuple(findings))
    splits = tuple(name for column, name in others.items() if column not in labels)
    findings.append(Finding("columns on the split of the images, no labels", splits))
    foreign = {column: name for column, name in labels.items() if not marks.may_be(_texts(table, column))}
    # Without labels, the first of these columns is reported when its cells are read.
    if len(foreign) < len(labels):
        labels = {column: name for column, name in labels.items() if column not in foreign}
        findings.append(Finding("columns with values other than 0 and 1, ignored", tuple(foreign.values())))
    stray = tuple(name for column, name in labels.items() if name != table.names[column])
    findings.append(Finding("labels with stray spaces in the header, trimmed", stray))
    return Columns(image, None, labels, kept, tuple(findings))


def is_single(name: str) -> bool:
    """Return whether a column of tags is called as if each of its cells were one tag: `label`, not `labels`."""
    return _kind(name) in _SINGLE


def _kind(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _texts(table: Table, column: int) -> Iterable[str]:
    return (cell for line in table.lines if isinstance(cell := line.cells[column], str))


def _holds_marks(table: Table, column: int) -> bool:
    return all(isinstance(line.cells[column], str) for line in table.lines) and marks.are_all(_texts(table, column))


def _is_nameless(column: int, name: str, image: int, tags: int | None) -> bool:
    return bool(_UNNAMED.fullmatch(name)) and column not in (image, tags)


def _named(column: str, flag: str, names: Sequence[str]) -> int:
    """Return the place of a column that the user named."""
    for same in (str, spelling.tidy, spelling.key, _kind):
        found = [place for place, name in enumerate(names) if same(name) == same(column)]
        if len(found) == 1:
            return found[0]
    raise LabelError(f"{flag} {shown(column)}: no such column", f"the columns are {', '.join(map(shown, names))}")


def _check_lines(table: Table) -> None:
    for line in table.lines:
        if len(line.cells) != len(table.names):
            raise LabelError(
                f"{line.place}: number of cells is {len(line.cells)}, but the header has {len(table.names)}",
                "put quotes around a cell that contains the separator",
            )


def _refuse_twins(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in filter(None, names):
        if other := seen.get(spelling.key(name)):
            raise LabelError(
                f"two columns have the same name: {shown(other)} and {shown(name)}", "remove or rename one"
            )
        seen[spelling.key(name)] = name


def _refuse_row_as_header(table: Table) -> None:
    if table.lines and _looks_like_a_row(table.header, table.lines[0]):
        raise LabelError(
            f"{table.header.place} looks like a row ({some_names(table.names)}), not a header",
            f"start the file with a header: {_FORMATS}",
        )


def _looks_like_a_row(header: Line, first: Line) -> bool:
    """Return whether a header names an image, differs from the name below only in digits, or has only marks."""
    names = [str(cell).strip() for cell in header.cells]
    name, below = (re.sub(r"\d+", "0", text) for text in (names[0], str(first.cells[0]).strip()))
    are_marks = len(names) > 1 and marks.are_all(names[1:])
    return name.lower().endswith(ENDINGS) or (name == below and "0" in name) or are_marks


def _find_names(table: Table, names: Sequence[str], kinds: Sequence[str], tags: int | None, of_marks: set[int]) -> int:
    """Find the column of the names of images: by its name, else the first that holds neither tags nor an index."""
    known = [kinds.index(kind) for kind in _IMAGE_COLUMNS if kind in kinds and kinds.index(kind) != tags]
    # A label may be called `path`; and the names of images may be 0 and 1.
    if column := [column for column in known if column not in of_marks or kinds[column] == "imagename"]:
        return column[0]
    first, second = [*(column for column in range(len(names)) if column != tags), 0, 0][:2]
    numbered = _UNNAMED.fullmatch(names[first]) and all(text.strip().isdigit() for text in _texts(table, first))
    # If only marks follow, the numbers are the names themselves: 0.jpg, 1.jpg.
    return second if numbered and second and second not in of_marks else first
