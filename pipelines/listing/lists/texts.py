"""Read the names in lists of text, line by line, however long a line claims to be."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import IO, Any, TextIO

from pipelines.errors import quantity
from pipelines.listing.lists.floats import InexactError, exact
from pipelines.listing.lists.names import (
    LONGEST,
    NAME_KEPT,
    Blank,
    ListError,
    Named,
    NoName,
    Row,
    byte_length,
    check_name,
    find_column,
    too_long,
)

_LONGEST_LINE = 1 << 20
"""Characters of a line with more than a name in it."""
_READ_AHEAD = 1 << 16
# Characters of which lines are cut: what is left is copied for each.
_FEW = 1 << 12
_OTHERS = {
    b"\x1f\x8b": ("gzip", ".gz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", ".zst"),
    b"PAR1": ("Parquet", ".parquet"),
}
"""What else a list may be, by its first bytes, with the ending that it should have."""
_QUOTES = "quote cells that contain quotes, and double the quotes inside"


def as_text(file: IO[bytes], newline: str | None) -> TextIO:
    """Decode a file: UTF-8, or UTF-16 with a byte order mark.

    Args:
      file: to be decoded.
      newline: as for `open`.

    Raises:
      ListError: it is UTF-16 without a byte order mark, or no text.
    """
    head = file.read(4)
    for magic, (kind, ending) in _OTHERS.items():
        if head.startswith(magic):
            raise ListError(f" looks like a {kind} file, but its name does not end in {ending}", "rename it")
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    # The mark of UTF-32 begins like that of UTF-16, in which no text begins with a null character.
    if (b"\0" in head and encoding != "utf-16") or head == codecs.BOM_UTF32_LE:
        raise ListError(" is neither UTF-8 nor UTF-16 with a byte order mark", "save it as UTF-8")
    # Names that are not UTF-8 pass through unchanged; `refer` turns each into a failure.
    raw = io.BufferedReader(_Rejoined(head, file), _READ_AHEAD)
    return io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline=newline)


class _Rejoined(io.RawIOBase):
    """A file whose first bytes have been read already: standard input cannot be wound back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._head = self._head or self._rest.read(len(buffer)), b""
        buffer[: len(data)] = data
        return len(data)


def read_lines(text: TextIO) -> Iterator[Named]:
    """Read a list with one name per line."""
    first = text.readline(LONGEST)
    # A name may have a carriage return; in a list that has no other end of a line, it is one.
    with_returns = "\r" in first.rstrip("\r\n") and not first.endswith("\n")
    read = partial(_AnyEnds(first, text).readline if with_returns else text.readline, LONGEST)
    lines = iter(read, "") if with_returns else chain([first] * bool(first), iter(read, ""))
    for number, line in enumerate(lines, 1):
        if len(line) == LONGEST and not line.endswith("\n"):
            length, rest = byte_length(line), line
            while len(rest) == LONGEST and not rest.endswith("\n"):
                rest = read()
                length += byte_length(rest)
            yield too_long(line, length, f"line {number:,}")
        else:
            yield Blank(number) if line.isspace() else line.rstrip("\r\n")


class _AnyEnds:
    """Lines of a text whose lines end with carriage returns, as spreadsheets on a Mac have written them."""

    def __init__(self, first: str, rest: TextIO) -> None:
        """Begin with what was read already."""
        self._rest = rest
        self._decoder = io.IncrementalNewlineDecoder(None, translate=True)
        self._held = self._decoder.decode(first)
        self._is_whole = False

    def readline(self, most: int) -> str:
        """Return the next line, or the next `most` characters of a longer one; empty at the end."""
        while "\n" not in self._held and len(self._held) < most and not self._is_whole:
            some = self._rest.read(_FEW)
            self._is_whole = not some
            self._held += self._decoder.decode(some, final=self._is_whole)
        end = min(self._held.find("\n") + 1 or most, most)
        line, self._held = self._held[:end], self._held[end:]
        return line


def read_cells(text: TextIO, delimiter: str, column: str, kept: Sequence[str] = ()) -> Iterator[Named]:
    """Read a list with a header and cells, which may be quoted and then have several lines.

    Args:
      text: of the list.
      delimiter: between cells.
      column: that holds the paths.
      kept: columns whose values are kept; with any, names come in a `Row`.

    Raises:
      ListError: it has no such column or two of them, or a line or the quotes are beyond repair.
    """
    # By default a cell may be no longer than a path, but a shape can stand next to a path.
    csv.field_size_limit(_LONGEST_LINE)
    # Strict: otherwise a quote without end would swallow all lines behind it.
    rows = csv.reader(_short_lines(text), delimiter=delimiter, strict=True)
    begins = 1
    try:
        header = next(rows, None)
        if header is None:
            return
        place = find_column(header, column)
        others = [find_column(header, name, NAME_KEPT) for name in kept]
        begins = rows.line_num + 1
        for row in rows:
            if len(row) == len(header):
                name = row[place]
                found = (
                    name
                    if 0 < len(name) <= LONGEST // 4 and not name.isspace()
                    else check_name(name, f"line {begins:,}")
                )
                yield Row(found, tuple(row[other] for other in others)) if others else found
            elif row:
                yield NoName(f"line {begins:,}", f"{quantity(len(row), 'cell')}, but the header has {len(header)}")
            else:
                yield Blank(begins)
            begins = rows.line_num + 1
    except csv.Error as error:
        raise ListError(f": line {begins:,}: {error}", _QUOTES) from error


def read_header(text: TextIO, delimiter: str) -> list[str]:
    """Return the names of the columns of a list with a header."""
    csv.field_size_limit(_LONGEST_LINE)
    try:
        return next(csv.reader(_short_lines(text), delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise ListError(
            f": line 1: {error}", "quote cells that contain quotes, and double the quotes inside"
        ) from error


def read_json(text: TextIO, column: str, kept: Sequence[str] = ()) -> Iterator[Named]:
    """Read a list with a JSON object per line; `kept` as for `read_cells`.

    Raises:
      ListError: a line is no JSON object, or is too long.
    """
    for number, pairs in _read_objects(text, column):
        if pairs is None:
            yield Blank(number)
            continue
        names = [value for key, value in pairs if key == column]
        place, double = f"line {number:,}", _find_double(pairs, (column, *kept))
        if double:
            yield NoName(place, double)
        elif names and names[0] is not None and (not isinstance(names[0], str) or isinstance(names[0], _Float)):
            yield NoName(place, f"{column!r} is not a string")
        else:
            found = check_name(names[0] if names else None, place)
            yield Row(found, tuple(map(_value, map(dict(pairs).get, kept)))) if kept else found


def read_keys(text: TextIO, column: str) -> list[str]:
    """Return all keys of a list with a JSON object per line, in the order in which they appear."""
    return list(dict.fromkeys(key for _, pairs in _read_objects(text, column) for key, _ in pairs or ()))


def _read_objects(text: TextIO, column: str) -> Iterator[tuple[int, Sequence[tuple[str, Any]] | None]]:
    """Yield number, keys and values of each line; None for a blank one."""
    # Pairs, since a dictionary would keep one of two names.
    decode = json.JSONDecoder(object_pairs_hook=tuple, parse_float=_Float).decode
    for number, line in enumerate(_short_lines(text), 1):
        if not line.strip():
            yield number, None
            continue
        try:
            pairs = decode(line)
        except (ValueError, RecursionError) as error:
            raise ListError(f": line {number:,} is not JSON: {error}") from error
        if not isinstance(pairs, tuple):
            raise ListError(f": line {number:,} is not a JSON object", f'write {{"{column}": "..."}} on each line')
        yield number, pairs


class _Float(str):
    """A number of JSON as it is written: to read it exactly takes time, and most are in columns that are not kept."""

    __slots__ = ()


def _value(read: Any) -> Any:
    """Return a value of JSON; the text of a number that no float64 holds, so that it is not another one unnoticed."""
    if not isinstance(read, _Float):
        return read
    try:
        return exact(read)
    except InexactError:
        return str(read)


def _find_double(pairs: Sequence[tuple[str, Any]], keys: Sequence[str]) -> str:
    counts = Counter(key for key, _ in pairs)
    return next((f"{quantity(counts[key], 'value')} of {key!r}" for key in keys if counts[key] > 1), "")


def _short_lines(text: TextIO) -> Iterator[str]:
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise ListError(f": line {number:,} is longer than {_LONGEST_LINE:,} characters")
        yield line
