"""Find out which column of a table holds what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pipelines.images.formats import ENDINGS
from pipelines.labels import marks, spelling
from pipelines.labels.findings import Finding, LabelError, shown, some_names
from pipelines.labels.measures import is_measure
from pipelines.labels.pairs import may_say
from pipelines.labels.rows import LabelOptions
from pipelines.labels.tables import Line, Table

# Names as `kind_of` writes them; where a table has several, the first of these counts.
IMAGE_COLUMNS = (
    *("imagename", "imagefilename", "filename", "imagefile", "imagepath", "imgpath", "filepath", "imgname"),
    *("image", "img", "file", "fname", "path", "imageindex", "imageid", "imgid", "patchid", "patch", "name", "id"),
)
_LISTS = ("tags", "labels", "findinglabels", "labelnames", "classnames")
_SINGLE = (
    *("tag", "labelname", "classname", "categoryname", "label", "class", "category"),
    *("genre", "target", "finding", "choice", "variable"),
)
TAGS_COLUMNS = (*_LISTS, *_SINGLE, "classes", "categories", "genres", "attributeids", "targets", "choices")
# Columns that say by 0 that a row's image does not have its tag: of any numbers, and of marks alone.
_CONFIDENCE = "confidence"
_TRUTHS = frozenset(
    (
        *("value", "present", "ispresent", "presence", "exists", "positive", "ispositive", "haslabel", "labelvalue"),
        *("truth", "groundtruth", "score", "probability"),
    )
)
_NUMBERED = re.compile(r"(tag|label|class|category|genre)\d+")
_DIVIDING = frozenset(
    (
        *("isvalid", "isval", "isvalidation", "istrain", "istraining", "istest"),
        *("fold", "folds", "kfold", "split", "datasplit", "subset", "partition"),
    )
)
_NO_LABELS = frozenset(("id", "index", "imageid", "patientid")) | _DIVIDING
# The second is the name that pandas gives to an unnamed column.
_UNNAMED = re.compile(r"|Unnamed: \d+")

_FORMATS = "image_name,tags, or image_name and one column per label"


class Columns(NamedTuple):
    """Which column holds what, by its place in the table.

    Attributes:
      image: of the names of images.
      tags: of tags; none if each of `labels` is a label.
      labels: columns that are labels, and their names.
      confidence: that says by 0 that an image does not have the tag; None if there is none.
      unread: columns next to the tags, and their names, that may say so as well.
      kept: those of `LabelOptions.keep`.
      findings: on columns that are ignored.
    """

    image: int
    tags: tuple[int, ...]
    labels: dict[int, str]
    confidence: int | None
    unread: dict[int, str]
    kept: tuple[int, ...]
    findings: tuple[Finding, ...]


def find_columns(table: Table, options: LabelOptions) -> Columns:
    """Find out from header, cells and options what each column holds, and check that each line has all cells.

    Raises:
      LabelError: the header cannot be understood, or lacks a column of the options.
    """
    names = [spelling.tidy(name) for name in table.names]
    if not names:
        raise LabelError("has no columns", f"use {_FORMATS}")
    is_told = options.image_column or options.tags_columns or {*IMAGE_COLUMNS, *TAGS_COLUMNS} & set(map(kind_of, names))
    if not is_told:
        _refuse_row_as_header(table)
    _check_lines(table)
    _refuse_twins(names)
    kept = tuple(_named(column, "column", names) for column in options.keep)
    image, tags = _find_image_and_tags(table, names, options)
    others = {
        column: name
        for column, name in enumerate(names)
        if column not in (image, *tags, *kept) and not _UNNAMED.fullmatch(name)
    }
    if len(names) < 2 or image in tags or not (tags or _labels(others)):
        raise LabelError(
            f"unusable header: {some_names(names)}",
            f"use {_FORMATS}, separated by commas, semicolons or tabs, or name columns by --image_column and "
            "--tags_column",
        )
    if not table.lines:
        raise LabelError("has a header but no rows")
    unnamed = tuple(
        f"column {column + 1}"
        for column, name in enumerate(names)
        if _UNNAMED.fullmatch(name) and column not in (image, *tags)
    )
    nameless = Finding("columns without a name, ignored", unnamed)
    if not tags:
        labels, findings = _find_labels(table, others)
        if not options.tags_columns:
            _refuse_truths_alone(labels, others)
        return Columns(image, (), labels, None, {}, kept, (nameless, *findings))
    confidence = _find_confidence(table, names, (image, *tags), kept)
    foreign = {column: name for column, name in others.items() if column != confidence}
    telling = may_say({column: kind_of(name) for column, name in _labels(foreign).items()})
    unread = {column: name for column, name in foreign.items() if column in telling}
    dividing, rest = _set_apart_dividing(foreign.values())
    ignored = Finding("columns other than names and tags, ignored", rest)
    return Columns(image, tags, {}, confidence, unread, kept, (nameless, dividing, ignored))


def _find_confidence(table: Table, names: Sequence[str], taken: Sequence[int], kept: Sequence[int]) -> int | None:
    """Find the column that says whether a row's tag is true.

    One that is kept, e.g. to divide the images by it, must be called confidence.
    """
    kinds = {column: kind_of(name) for column, name in enumerate(names) if column not in taken}
    named = [column for column, kind in kinds.items() if kind == _CONFIDENCE]
    others = [
        column
        for column, kind in kinds.items()
        if kind in _TRUTHS and column not in kept and marks.are_all(marks.given(table.counts[column]))
    ]
    return next(iter((*named, *others)), None)


def _find_image_and_tags(table: Table, names: Sequence[str], options: LabelOptions) -> tuple[int, tuple[int, ...]]:
    """Return the column of names of images, and those of tags."""
    of_marks = {column for column in range(len(names)) if marks.are_all(table.counts[column])}
    image = _named(options.image_column, "--image_column", names) if options.image_column else None
    if options.tags_columns == ("none",):
        tags: tuple[int, ...] = ()
    elif options.tags_columns:
        tags = tuple(_named(column, "--tags_column", names) for column in options.tags_columns)
        if image in tags:
            raise LabelError(
                f"--image_column and --tags_column are both {shown(options.image_column)}",
                "name the column of the images",
            )
    else:
        tags = _find_tags(names, image)
    if image is None:
        image = _find_names(table, names, tags, of_marks)
    # A label may be called like a column of tags.
    if not options.tags_columns and of_marks.issuperset(tags):
        further = {column: names[column] for column in of_marks - {image} if not _UNNAMED.fullmatch(names[column])}
        if len(_labels(further)) > 1:
            tags = ()
    return image, tags


def _find_tags(names: Sequence[str], image: int | None) -> tuple[int, ...]:
    """Find columns of tags by their names: the first usual one, or several with numbers."""
    kinds = ["" if column == image else kind_of(name) for column, name in enumerate(names)]
    if known := [kind for kind in TAGS_COLUMNS if kind in kinds]:
        return (kinds.index(known[0]),)
    numbered = tuple(column for column, kind in enumerate(kinds) if _NUMBERED.fullmatch(kind))
    return numbered if len(numbered) > 1 else ()


def _find_labels(table: Table, others: Mapping[int, str]) -> tuple[dict[int, str], tuple[Finding, ...]]:
    """Find the columns that are labels."""
    labels = _labels(others)
    _refuse_shares(table, labels)
    shares = {column for column in labels if marks.are_shares(table.counts[column])}
    measures = {column for column in shares if is_measure(labels[column])}
    marked = {column for column in labels if marks.may_be(table.counts[column])} - measures
    foreign = {column: name for column, name in labels.items() if column not in marked}
    # Without labels, the first of these columns is reported when its cells are read.
    if len(foreign) == len(labels):
        foreign = {}
    labels = {column: name for column, name in labels.items() if column not in foreign}
    dividing, by_name = _set_apart_dividing(name for name in others.values() if kind_of(name) in _NO_LABELS)
    stray = tuple(name for column, name in labels.items() if name != table.names[column])
    return labels, (
        dividing,
        Finding("columns ignored by name", by_name),
        Finding("columns with values other than 0 and 1, ignored", tuple(foreign.values())),
        Finding("labels with stray spaces in the header, trimmed", stray),
    )


def _set_apart_dividing(names: Iterable[str]) -> tuple[Finding, tuple[str, ...]]:
    """Return a finding on those columns that may say which images are for testing, and the names of the others.

    To train on such images without a word would spoil every later figure.
    """
    names = tuple(names)
    dividing = tuple(name for name in names if kind_of(name) in _DIVIDING)
    what = "columns that may divide the images, ignored (train follows one that --split_column names)"
    return Finding(what, dividing), tuple(name for name in names if name not in dividing)


def _refuse_shares(table: Table, labels: Mapping[int, str]) -> None:
    """Refuse shares, which may be labels that somebody was not sure of: to ignore them would lose these labels."""
    shares = [
        name
        for column, name in labels.items()
        if not (kind_of(name) in _TRUTHS or is_measure(name)) and marks.are_shares(table.counts[column])
    ]
    if shares:
        raise LabelError(
            f"columns of shares from 0 to 1, which may be labels: {some_names(shares)}",
            "write 0 and 1 there, such as 1 from 0.5 on, or remove these columns if they are no labels",
        )


def _refuse_truths_alone(labels: Mapping[int, str], others: Mapping[int, str]) -> None:
    """Refuse a column such as `value` as the only label, if another one may hold the labels that it speaks of."""
    ignored = [name for column, name in _labels(others).items() if column not in labels]
    if ignored and _TRUTHS.issuperset(map(kind_of, labels.values())):
        raise LabelError(
            f"column {some_names(labels.values())} may say which of the labels in {some_names(ignored)} are there",
            "name the column of labels by --tags_column, or say --tags_column none if each column is a label",
        )


def _labels(columns: Mapping[int, str]) -> dict[int, str]:
    return {column: name for column, name in columns.items() if kind_of(name) not in _NO_LABELS}


def is_single(name: str) -> bool:
    """Return whether a column of tags is called as if each of its cells were one tag: `label`, not `labels`."""
    return kind_of(name).rstrip("0123456789") in _SINGLE


def kind_of(name: str) -> str:
    """Return the name of a column as it is compared with known ones: without case, spaces, `_` and `-`."""
    return re.sub(r"[\s_-]", "", name).casefold()


def _named(column: str, flag: str, names: Sequence[str]) -> int:
    """Return the place of a column that the user named."""
    for same in (str, spelling.tidy, spelling.key, kind_of):
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


def _find_names(table: Table, names: Sequence[str], tags: Sequence[int], of_marks: set[int]) -> int:
    """Find the column of the names of images: by its name, else the first that holds neither tags nor an index."""
    kinds = ["" if column in tags else kind_of(name) for column, name in enumerate(names)]
    known = [kinds.index(kind) for kind in IMAGE_COLUMNS if kind in kinds]
    # A label may be called `path`; and the names of images may be 0 and 1.
    if column := [column for column in known if column not in of_marks or kinds[column] == "imagename"]:
        return column[0]
    first, second = [*(column for column in range(len(names)) if column not in tags), 0, 0][:2]
    numbered = _UNNAMED.fullmatch(names[first]) and all(str(cell).strip().isdigit() for cell in table.counts[first])
    # If only marks follow, the numbers are the names themselves: 0.jpg, 1.jpg.
    return second if numbered and second and second not in of_marks else first
