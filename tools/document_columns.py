"""Write the tables of columns in docs/output.md from their declarations in the code: `make docs` runs it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipelines.output import schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "output.md"


def rewrite(text: str, table: str, columns: Sequence[schema.Column]) -> str:
    """Replace the block of a table of columns, `<!-- columns: TABLE -->` to `<!-- end -->`.

    Raises:
      ValueError: the text does not have exactly one such block.
    """
    block = re.compile(rf"(<!-- columns: {table} -->\n).*?(<!-- end -->\n)", re.DOTALL)
    lines = "\n".join(schema.document(columns))
    text, count = block.subn(lambda markers: f"{markers[1]}\n{lines}\n\n{markers[2]}", text)
    if count != 1:
        raise ValueError(f"{count} blocks '<!-- columns: {table} -->' to '<!-- end -->', and not one")
    return text


def rewrite_page(text: str) -> str:
    """Replace the blocks of all tables."""
    for table, columns in (
        ("predictions", schema.PREDICTION_COLUMNS),
        ("scenes", schema.SCENE_COLUMNS),
        ("empty", schema.EMPTY_COLUMNS),
        ("failures", schema.FAILURE_COLUMNS),
    ):
        text = rewrite(text, table, columns)
    return text


def main(page: Path = PAGE) -> None:
    """Rewrite the page."""
    page.write_text(rewrite_page(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
