"""Read what a user asks of tags, as in `road and not (cloudy or "bare ground")`, and write it as a condition of SQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pipelines.errors import ScenetagsError
from pipelines.results import sql
from pipelines.results.labels import check_label

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<sign>[()])
      | "(?P<double>(?:[^"]|"")*)"
      | '(?P<single>(?:[^']|'')*)'
      | (?P<open>["'])
      | (?P<word>[^\s()"']+)
    )""",
    re.VERBOSE,
)
_WORDS = ("and", "or", "not")
_DEEPEST = 100
# What follows a column in a comparison.
_OPERATOR = re.compile("[<>=!]")


class ExpressionError(ScenetagsError):
    """An expression that cannot be understood."""


class Expression(NamedTuple):
    """What is asked of the tags of a row.

    Attributes:
      condition: in DuckDB's SQL, over the column `tags`.
      labels: that it names, each once, in their order.
    """

    condition: str
    labels: tuple[str, ...]


class _Token(NamedTuple):
    """A word of an expression: `(`, `)`, `and`, `or`, `not`, or else a label.

    Attributes:
      text: as it was meant, without quotes.
      place: its first character, counted from 1.
      is_label: whether it stands in quotes, or is none of the other words.
    """

    text: str
    place: int
    is_label: bool


def read_expression(text: str, labels: Sequence[str], columns: Mapping[str, str] | None = None) -> Expression:
    """Read an expression: labels, `and`, `or`, `not` and parentheses; `not` binds closest, `or` least.

    A label stands in quotes if it holds spaces, quotes or parentheses, or is one of these words; a quote within them is
    doubled.

    Args:
      text: the expression.
      labels: of the model.
      columns: of the rows, with what asks for each.

    Raises:
      ExpressionError: it is malformed, or names a column.
      UnknownLabelError: it names a label that the model does not have.
    """
    return _Reader(text, labels, columns or {}).read()


def check_tag(
    name: str, labels: Sequence[str], columns: Mapping[str, str], place: str, written: Callable[[str], str] = str
) -> str:
    """Return a label of the model, as `check_label` does, but refuse a column with what asks for it.

    Raises:
      ExpressionError: it is a column.
      UnknownLabelError: it is neither.
    """
    column = _OPERATOR.split(name, maxsplit=1)[0]
    if name not in labels and column in columns:
        raise ExpressionError(f"{place}: {column} is a column of the rows, not a tag", columns[column])
    return check_label(name, labels, place, written)


def _written(label: str) -> str:
    """Return a label as it stands in an expression: in quotes if it needs them."""
    match = _TOKEN.fullmatch(label)
    plain = match and match["word"] == label and label.lower() not in _WORDS
    return label if plain else '"' + label.replace('"', '""') + '"'


class _Reader:
    """Descends into an expression, level by level."""

    def __init__(self, text: str, labels: Sequence[str], columns: Mapping[str, str]) -> None:
        self._text = text
        self._labels = labels
        self._columns = columns
        self._tokens = list(self._split())
        self._next = 0
        self._named: dict[str, None] = {}

    def read(self) -> Expression:
        if not self._tokens:
            raise ExpressionError("the expression is empty", 'write e.g. "road and not cloudy"')
        condition = self._any(0)
        if token := self._token:
            if token.text == ")" and not token.is_label:
                raise self._refuse(token, "no parenthesis is open here")
            raise self._refuse(
                token, f'"and" or "or" is missing before {token.text}', "labels with spaces stand in quotes"
            )
        return Expression(condition, tuple(self._named))

    def _any(self, depth: int) -> str:
        parts = [self._all(depth)]
        while self._take("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _all(self, depth: int) -> str:
        parts = [self._one(depth)]
        while self._take("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"

    def _one(self, depth: int) -> str:
        token = self._token
        if token is None:
            raise self._refuse(None, "a tag is missing at the end", self._on_words())
        if depth > _DEEPEST:
            raise self._refuse(token, "it is nested too deeply")
        self._next += 1
        if token.is_label:
            label = check_tag(token.text, self._labels, self._columns, self._at(token), _written)
            self._named[label] = None
            return f"list_contains(tags, {sql.text(label)})"
        if token.text == "not":
            return f"NOT {self._one(depth + 1)}"
        if token.text == "(":
            inner = self._any(depth + 1)
            if not self._take(")"):
                raise self._refuse(token, "this parenthesis is never closed")
            return inner
        raise self._refuse(token, f"a tag is missing before {token.text}", self._on_words())

    @property
    def _token(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, word: str) -> bool:
        token = self._token
        found = token is not None and not token.is_label and token.text == word
        self._next += found
        return found

    def _split(self) -> Iterator[_Token]:
        end = len(self._text.rstrip())
        position = 0
        while position < end:
            match = _TOKEN.match(self._text, position)
            assert match, "a word may hold any character but those that stand alone"
            position = match.end()
            kind = match.lastgroup or ""
            written, place = match[kind], match.start(kind) + 1
            if kind in ("double", "single"):
                mark = self._text[match.start(kind) - 1]
                yield _Token(written.replace(2 * mark, mark), place - 1, is_label=True)
            elif kind == "open":
                raise self._refuse(_Token(written, place, is_label=False), "this quote is never closed")
            elif kind == "sign" or written.lower() in _WORDS:
                yield _Token(written.lower(), place, is_label=False)
            else:
                yield _Token(written, place, is_label=True)

    def _at(self, token: _Token | None) -> str:
        place = f", character {token.place}" if token else ""
        return f'"{self._text}"{place}'

    def _on_words(self) -> str:
        """Say how a label is written that is named like one of the words; empty if there is none."""
        named = [_written(label) for label in self._labels if label.lower() in _WORDS]
        return f"as a tag, write {' or '.join(named)}" if named else ""

    def _refuse(self, token: _Token | None, reason: str, remedy: str = "") -> ExpressionError:
        return ExpressionError(f"{self._at(token)}: {reason}", remedy)
