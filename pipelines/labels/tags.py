"""Read tags from one column, whose cells hold lists of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.labels import spelling
from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.lists import inside, read_list
from pipelines.labels.missing import is_missing
from pipelines.labels.tables import Line

_STRONG, _WEAK = ";|", ","
_WITHOUT_SEPARATORS = dict.fromkeys(map(ord, _STRONG + _WEAK))
_SPACE, _NONE = "space", "none"

_WITH_COLUMNS = "write a column per label, with its name in the header"
_BITS = re.compile("[01]{4,}")
_NUMBERED = re.compile(r".*[^\W\d].*[:=(]\s*(?:[01]?[.,]\d+|\d+(?:[.,]\d+)?\s*%)\s*\)?")
_QUOTED = re.compile(r"\s*'[^']*'\s*")
# May separate tags, too, but is more often part of them.
_RARE = re.compile(r"[/+&#:_-]")
# So often, words are together by more than chance.
_OFTEN = 6

Tags = list[frozenset[str] | None]


class _Text(NamedTuple):
    """A cell whose tags are still to be split."""

    line: int
    place: str
    text: str
    is_list: bool = False


def read_tags(
    lines: Sequence[Line], column: int, separator: str = "", is_single: bool = False
) -> tuple[Tags, tuple[Finding, ...]]:
    """Read the tags of each line from one cell; None if they are missing.

    Args:
      lines: of the table.
      column: that holds tags.
      separator: between tags, as in `LabelOptions`; empty to find it in the cells.
      is_single: whether the column's name speaks of one tag per cell.

    Raises:
      LabelError: it is unclear what separates tags, or a list cannot be read.
    """
    tags: dict[int, Sequence[str]] = {}
    texts: list[_Text] = []
    dropped: list[str] = []
    for number, line in enumerate(lines):
        cell = line.cells[column]
        found = cell if isinstance(cell, tuple) else read_list(line.place, cell)
        if isinstance(found, tuple):
            if (present := _present(found, line.place, dropped)) or not found:
                tags[number] = present
        elif not _is_blank(found):
            texts.append(_Text(number, line.place, found))
    # Brackets without quotes may be part of labels, unless there is a comma inside, or every cell has them.
    in_brackets = [inside(cell.text) for cell in texts]
    are_lists = None not in in_brackets
    texts = [
        cell if text is None or not (are_lists or _WEAK in text) else _Text(cell.line, cell.place, text, is_list=True)
        for cell, text in zip(texts, in_brackets, strict=True)
    ]
    if texts and all(_QUOTED.fullmatch(cell.text) for cell in texts):
        texts = [cell._replace(text=cell.text.strip()[1:-1]) for cell in texts]
    findings = _split(texts, separator, is_single and not are_lists, tags, dropped)
    if separator != _NONE:
        _refuse_vectors(lines, tags)
        _refuse_numbered(lines, tags)
    missing = Finding("missing values next to tags, left out", tuple(dropped))
    return [frozenset(tags[number]) if number in tags else None for number in range(len(lines))], (missing, *findings)


def _present(parts: Sequence[str], place: str, dropped: list[str]) -> list[str]:
    """Return the parts of a cell that are tags; note in `dropped` what stands for a missing value next to them."""
    tidy = list(map(spelling.tidy, parts))
    present = [part for part in tidy if not is_missing(part)]
    if present:
        dropped += [f"{shown(part)} ({place})" for part in tidy if is_missing(part)]
    return present


def _refuse_numbered(lines: Sequence[Line], tags: Mapping[int, Sequence[str]]) -> None:
    """Refuse tags with a number behind most of them, such as `cloud:0.54`: each would be a label of its own."""
    first: dict[str, int] = {}
    for number, of_line in tags.items():
        for tag in of_line:
            first.setdefault(tag, number)
    numbered = [tag for tag in first if _NUMBERED.fullmatch(tag)]
    if len(numbered) > 1 and 2 * len(numbered) >= len(first):
        tag = numbered[0]
        raise LabelError(
            f"{lines[first[tag]].place}: {shown(tag)} has a number behind it, as most tags have",
            "write the names of the tags alone, or say --separator none if each cell is one label",
        )


def _refuse_vectors(lines: Sequence[Line], tags: Mapping[int, Sequence[str]]) -> None:
    """Refuse lists that hold a 0 or 1 for each label, whose names nobody knows."""
    words = {of_line[0] if len(of_line) == 1 else "" for of_line in tags.values()}
    if len(words) > 2 and len(set(map(len, words))) == 1 and all(map(_BITS.fullmatch, words)):
        number = next(iter(tags))
        raise LabelError(
            f"{lines[number].place}: {shown(tags[number][0])} looks like a 0 or 1 for each label, without their names",
            _WITH_COLUMNS,
        )
    lengths = {len(of_line) for of_line in tags.values()}
    doubled = next((number for number, of_line in tags.items() if len(set(of_line)) < len(of_line)), None)
    if doubled is not None and len(lengths) == 1 and all(map({"0", "1"}.issuperset, tags.values())):
        raise LabelError(
            f"{lines[doubled].place}: {shown(' '.join(tags[doubled]))} looks like a 0 or 1 for each label, without "
            "their names",
            _WITH_COLUMNS,
        )


def _split(
    texts: Sequence[_Text], separator: str, is_single: bool, tags: dict[int, Sequence[str]], dropped: list[str]
) -> tuple[Finding, ...]:
    """Split the texts into `tags`, and missing values among them into `dropped`."""
    if separator == _NONE:
        for cell in texts:
            tags[cell.line] = [spelling.tidy(cell.text)]
        return ()
    mark = None if separator == _SPACE else separator or _find_separator(texts)
    if mark is None and not separator and is_single and not _are_lists(texts):
        whole = dict.fromkeys(text for cell in texts if " " in (text := spelling.tidy(cell.text)))
        for cell in texts:
            tags[cell.line] = [spelling.tidy(cell.text)]
        return (Finding("multi-word labels, not split (--separator space would)", tuple(whole)),)
    joint = " " if mark is None else mark
    joints = (joint, f"{joint} ", f" {joint} ")
    stray: list[str] = []
    alone: dict[str, str] = {}
    combined: set[str] = set()
    for cell in texts:
        of_list = _WEAK if cell.is_list and not separator and _WEAK in cell.text else mark
        written = list(filter(None, map(spelling.tidy, cell.text.split(of_list))))
        # Databases quote only the texts with spaces.
        parts = [part.strip("\"'") for part in written] if cell.is_list else written
        parts = _present(parts, cell.place, dropped)
        if parts:
            tags[cell.line] = parts
        if parts and not cell.is_list and cell.text not in [joint.join(written) for joint in joints]:
            stray.append(cell.place)
        if joint in cell.text:
            combined.update(parts)
        elif parts:
            alone.setdefault(parts[0], cell.place)
    phrases = {tag: place for tag, place in alone.items() if " " in tag and tag not in combined}
    if not separator and mark is not None:
        _refuse_mixture(texts, phrases, combined.union(alone), mark)
    return (
        Finding("rows with stray spaces or separators in the tags, cleaned", tuple(stray)),
        Finding(f"multi-word labels never seen next to a '{joint}', not split", tuple(phrases)),
        Finding("labels made up of others, not split (--separator would)", _composed(combined.union(alone))),
        Finding(
            "phrases whose words occur nowhere else, split (--separator none would not)",
            () if separator or mark else _inseparable(texts),
        ),
    )


def _composed(labels: set[str]) -> tuple[str, ...]:
    """Find labels whose parts are labels, too."""
    parts = {label: list(map(spelling.tidy, _RARE.split(label))) for label in labels if _RARE.search(label)}
    return tuple(sorted(label for label, of_label in parts.items() if labels.issuperset(of_label)))


def _inseparable(texts: Sequence[_Text]) -> tuple[str, ...]:
    """Find words that are in the same cells, several of them, and in no others."""
    cells: dict[str, list[int]] = defaultdict(list)
    for number, cell in enumerate(texts):
        for word in dict.fromkeys(cell.text.split()):
            cells[word].append(number)
    together: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for word, numbers in cells.items():
        if len(numbers) >= _OFTEN:
            together[tuple(numbers)].append(word)
    return tuple(" ".join(words) for words in together.values() if len(words) > 1)


def _find_separator(texts: Sequence[_Text]) -> str | None:
    """Find what separates tags: `;` or `|` if any cell has it, else a comma; None for white space."""
    first: dict[str, str] = {}
    for cell in texts:
        for mark in _STRONG + _WEAK:
            if mark in cell.text:
                first.setdefault(mark, cell.place)
    if len(first.keys() & set(_STRONG)) > 1:
        used = " and by ".join(f"{mark} ({first[mark]})" for mark in _STRONG)
        raise LabelError(
            f"tags are separated by {used}", "use the same separator in the whole file, or name it by --separator"
        )
    return next((mark for mark in _STRONG + _WEAK if mark in first), None)


def _refuse_mixture(texts: Sequence[_Text], phrases: dict[str, str], labels: set[str], mark: str) -> None:
    """Refuse a file that separates tags in some rows by `mark`, and in others by a comma or by spaces.

    Otherwise a single row with a comma would turn the cell of every other row into a label: `phrases`, with the place
    of each. Labels that really have several words are seldom made up of other labels only, and contain more different
    words than there are such labels; a part of a label that has a comma is seldom a label, too.
    """
    marked = next(cell.place for cell in texts if mark in cell.text)
    how = "or name what separates them by --separator"
    for cell in texts if mark != _WEAK else ():
        if cell.is_list:
            continue
        for part in cell.text.split(mark):
            if _WEAK in part and labels.intersection(map(spelling.tidy, part.split(_WEAK))):
                raise LabelError(
                    f"tags are separated by , in {cell.place} ({shown(part)}) and by {mark} in {marked}",
                    f"separate all tags in the file by {mark}, {how}",
                )
    words = {word for phrase in phrases for word in phrase.split()}
    for phrase, place in phrases.items():
        if len(phrases) > len(words) or labels.issuperset(phrase.split()):
            raise LabelError(
                f"tags are separated by spaces in {place} ({shown(phrase)}) and by {mark} in {marked}",
                f"separate all tags in the file by {mark}, {how}",
            )


def _are_lists(texts: Sequence[_Text]) -> bool:
    """Return whether cells of several words are lists: words stand alone elsewhere, or in many combinations."""
    cells = {spelling.tidy(cell.text) for cell in texts}
    phrases = {cell for cell in cells if " " in cell}
    words = {word for phrase in phrases for word in phrase.split()}
    return len(phrases) > len(words) or any(cells.issuperset(phrase.split()) for phrase in phrases)


def _is_blank(text: str) -> bool:
    """Return whether a text has no tags; one of separators alone must not decide how others are split."""
    return is_missing(text.translate(_WITHOUT_SEPARATORS))
