"""Messages that the pages quote are those that the code writes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))

LEAST = 10
"""Characters of a text in the code that can be told from any other."""

MOST_WORDS = 4
"""In a row that may be a value, e.g. that of a flag or `12 failures`."""


def quoted() -> Iterator[tuple[str, str]]:
    """Yield the messages of the pages: lines of a command, and the first column of a table of scenetags' messages."""
    for page in PAGES:
        ours = False
        for line in page.read_text().splitlines():
            ours = line.startswith("| message of scenetags |") or (ours and line.startswith("|"))
            if match := re.match(r"scenetags(?: [a-z]+)?: (.+)", line):
                yield page.name, match[1]
            if ours and line.startswith("| `"):
                yield from ((page.name, message) for message in re.findall("`([^`]+)`", line.split(" | ")[0]))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return the texts in the code between which values stand, the longest first."""
    files = (path for package in ("pipelines", "model") for path in (ROOT / package).rglob("*.py"))
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    # Docstrings stand alone.
    documents = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found = {
        node.value.strip()
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
    }
    return sorted((text for text in found if len(text) >= LEAST), key=len, reverse=True)


def not_in(texts: list[str], message: str) -> list[str]:
    """Return the parts of a message that no text in the code has, and that are too long for values."""
    for text in texts:
        message = message.replace(text, "\n")
    words = re.compile(r"(?<![\w/:.-])[A-Za-z]+(?![\w/.-])")
    parts = [part.strip() for part in re.split(r"\n|\.\.\.", message) if len(words.findall(part)) > MOST_WORDS]
    # A page may quote less than a whole text.
    return [part for part in parts if not any(part in text for text in texts)]


@pytest.mark.parametrize(("page", "message"), quoted())
def test_a_quoted_message_is_one_of_the_code(page: str, message: str, texts: list[str]) -> None:
    assert not not_in(texts, message), page


def test_the_pages_quote_messages() -> None:
    assert len(list(quoted())) > 10


def test_a_message_that_the_code_does_not_write_is_noticed(texts: list[str]) -> None:
    written = "output gs://... is in use by run ..., a detached job (if that job has ended without writing rows, ..."
    assert not not_in(texts, written)
    assert not_in(texts, "output gs://... is in use by run ..., a job of its own ...")
