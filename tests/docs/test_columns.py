"""The tables of columns in the documentation are those that the code declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.output import schema
from tools import document_columns


def test_the_committed_tables_are_current() -> None:
    text = document_columns.PAGE.read_text()

    assert document_columns.rewrite_page(text) == text, "docs/output.md is out of date: run `make docs`"


def test_an_added_column_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "output.md"
    page.write_text(document_columns.PAGE.read_text())
    added = schema.Column("clouds", "float32", "share of the image under clouds", lambda row, run: 0.0)
    monkeypatch.setattr(schema, "PREDICTION_COLUMNS", (*schema.PREDICTION_COLUMNS, added))

    document_columns.main(page)

    row = "| `clouds` | `float32` | share of the image under clouds |"
    assert row in page.read_text().splitlines()
    assert row not in document_columns.PAGE.read_text()


@pytest.mark.parametrize("text", ["", "<!-- columns: failures -->\n", "<!-- columns: failures -->\n<!-- end -->\n" * 2])
def test_a_page_without_exactly_one_block_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="columns: failures"):
        document_columns.rewrite(text, "failures", schema.FAILURE_COLUMNS)
