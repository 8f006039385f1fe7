"""The README stays a page that is read to its end, and what it leaves out is a click away."""

from __future__ import annotations

from tests import ROOT

MOST_WORDS = 900


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS
