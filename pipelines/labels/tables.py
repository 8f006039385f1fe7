"""Tables of label files: CSV and other text, records of JSON, and Parquet become lines of cells."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

from pipelines.labels.findings import LabelError, shown
from pipelines.labels.missing import is_missing
from pipelines.storage.strict_json import RepeatedNameError, without_repeats

Cell = str | tuple[str, ...]
"""A text, or the texts of a list; a missing value is an empty text."""


class Nested(str):
    """A value that is neither a text or a number nor a list of these, as it is shown."""


# The first separator outside quotes in the first line that is not blank.
_DELIMITER = re.compile(r'(?:[ \t]*[\r\n])*(?:"[^"]*"|[^",;\t\r\n])*([,;\t])')
_PAIRS = "check that quotes come in pairs, around whole cells"


class Line(NamedTuple):
    """A line of a table, and where it stands: `line 2`, `row 1`."""

    place: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Table:
    """A table: names of columns, and lines, each with a cell for every column."""

    header: Line
    lines: Sequence[Line]

    @property
    def names(self) -> list[str]:
        """Return the names of the columns as they are written."""
        return [str(cell) for cell in self.header.cells]

    @cached_property
    def counts(self) -> Sequence[Counter[Cell]]:
        """How often each column has each of its different cells."""
        return [
            Counter(map(itemgetter(column), map(itemgetter(1), self.lines))) for column in range(len(self.header.cells))
        ]


def parse_text(text: str) -> Table:
    """Split text with commas, semicolons or tabs between cells into lines, skipping those whose cells are all blank.

    Raises:
      LabelError: it is empty, or its quotes do not come in pairs.
    """
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
    lines: list[Line] = []
    number = 1
    try:
        for cells in reader:
            if lines and reader.line_num > number and _holds_lines(cells, delimiter, len(lines[0].cells)):
                raise LabelError(f"line {number}: a quoted cell runs into the next rows", _PAIRS)
            if any(map(str.strip, cells)):
                # The same few marks, millions of times, take the memory of a few.
                lines.append(Line(f"line {number}", list(map(sys.intern, cells))))
            number = reader.line_num + 1
    except csv.Error as error:
        raise LabelError(f"line {number}: {shown(str(error))}", _PAIRS) from error
    if not lines:
        raise LabelError("the file is empty")
    return Table(lines[0], lines[1:])


def parse_attributes(text: str) -> Table | None:
    """Read attributes as CelebA writes them: a count, the labels, and a line of name and marks per image.

    Returns:
      The table; None if the text does not begin like that.
    """
    if not text.split("\n", 1)[0].strip().isdecimal():
        return None
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) < 3:
        return None
    _, (number, labels), *rows = lines
    if len(rows[0][1]) != len(labels) + 1:
        return None
    header = Line(f"line {number}", ["image_name", *labels])
    return Table(header, [Line(f"line {number}", cells) for number, cells in rows])


def parse_lines(text: str) -> Table:
    """Read JSON lines, an object each.

    Raises:
      LabelError: a line is none.
    """
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                records.append((f"line {number}", json.loads(line, object_pairs_hook=without_repeats)))
            except RepeatedNameError as error:
                raise LabelError(f"line {number}: {error}", "give each name once per object") from error
            except (ValueError, RecursionError) as error:
                raise LabelError(
                    f"line {number} is not JSON: {shown(line)}", "write one JSON object per line"
                ) from error
    return from_records(records)


def join(parts: Sequence[tuple[str, Table]]) -> Table:
    """Join tables with the same columns, each with the name of its file, which is put before the numbers of lines."""
    _, first = parts[0]
    if len(parts) == 1:
        return first
    return Table(first.header, [Line(f"{name}, {place}", cells) for name, part in parts for place, cells in part.lines])


def from_records(records: Sequence[tuple[str, object]]) -> Table:
    """Make a table of objects and the place of each; a column that an object lacks is empty there.

    Raises:
      LabelError: there are none, or one is not an object.
    """
    names: dict[str, None] = {}
    for place, record in records:
        if not isinstance(record, Mapping):
            raise LabelError(f"{place} is not a JSON object: {shown(str(record))}", "write an object per image")
        names.update(dict.fromkeys(map(str, record)))
    if not records:
        raise LabelError("the file is empty")
    lines = [
        Line(place, [as_cell(record.get(name)) for name in names])
        for place, record in records
        if isinstance(record, Mapping)
    ]
    return Table(Line("header", list(names)), lines)


def from_parquet(data: bytes) -> Table:
    """Read a Parquet file; of images inside, as Hugging Face packs them, only the path.

    Raises:
      LabelError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            fields = list(file.schema_arrow)
            packed = {
                one.name for one in fields if pa.types.is_struct(one.type) and one.type.get_field_index("path") >= 0
            }
            texts = [one.name for one in fields if not pa.types.is_binary(one.type)]
            table = file.read([f"{name}.path" if name in packed else name for name in texts])
        columns = [
            [as_cell(value["path"] if value and name in packed else value) for value in _values(column)]
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LabelError("damaged or not a Parquet file", "export it again") from error
    lines = [Line(f"row {number}", cells) for number, cells in enumerate(zip(*columns, strict=True), 1)]
    return Table(Line("header", table.column_names), lines)


def _values(column: Any) -> list[Any]:
    """Return the values of a column of Arrow; as texts if Python has no such times, as for a database's infinity."""
    try:
        return list(column.to_pylist())
    except OverflowError:
        return list(column.cast("string").to_pylist())


def as_cell(value: object) -> Cell:
    """Turn a value of JSON or Parquet into a cell: `Nested` of what has no texts; an empty text if all are missing.

    Label Studio writes several choices as an object with one list.
    """
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value.values())), (list, tuple)):
        [value] = value.values()
    try:
        if not isinstance(value, (list, tuple, Set)):
            return as_text(value)
        texts = tuple(map(as_text, value))
    except TypeError:
        return Nested(value)
    return "" if value and all(map(is_missing, texts)) else texts


def as_text(value: object) -> str:
    """Turn a single value into a text as in a CSV file: empty if it is missing, and 1 for 1.0 and true.

    Raises:
      TypeError: it is not a single one, or neither a text, a number nor a date.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if not isinstance(value, (str, int, float, Decimal, date, time)):
        raise TypeError(f"{shown(str(value))} is neither text nor a number")
    return str(value)


def _holds_lines(cells: Sequence[str], delimiter: str, columns: int) -> bool:
    """Return whether a cell contains what look like lines of the file, caught between two unclosed quotes."""
    further = [line for cell in cells for line in re.split(r"[\r\n]+", cell)[1:]]
    return any(line.count(delimiter) >= max(columns - 1, 1) for line in further)
