"""The page on the output names every kind of error that this project declares for a failure."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pipelines import archives, inference, listing, reading, records
from pipelines.images import ImageError
from tests import ROOT

LOADED = (archives, inference, listing, reading, records)
"""Rooms that make failures; once they are loaded, so are the errors."""


def kinds(family: type[Exception]) -> Iterator[str]:
    """Yield the names of the classes below a class that are part of `pipelines`, and can be those of a failure."""
    for kind in family.__subclasses__():
        # Errors of the command line are of its messages, and other tests may have loaded them.
        if kind.__module__.startswith("pipelines.") and not kind.__module__.startswith("pipelines.commandline."):
            yield kind.__name__
        yield from kinds(kind)


@pytest.mark.parametrize("family", [ImageError, OSError])
def test_the_page_names_every_kind_of_error(family: type[Exception]) -> None:
    page = (ROOT / "docs" / "output.md").read_text()
    named = set(re.findall(r"^\| `(\w+)` \| `(?:list|read|decode|predict)`", page, re.MULTILINE))

    declared = set(kinds(family))

    assert len(declared) >= 6
    assert not declared - named
