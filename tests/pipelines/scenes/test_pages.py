"""Bytes of a file that is read here and there."""

from __future__ import annotations

import random

from pipelines.scenes.pages import Pages

DATA = random.Random(0).randbytes(10_000_000)


def test_any_bytes_are_those_of_the_file() -> None:
    pages = Pages(lambda start, length: DATA[start : start + length], len(DATA))
    drawn = random.Random(1)
    for length in (1, 12, 70_000, 5_000_000) * 20:
        start = drawn.randrange(len(DATA))
        assert pages[start : start + length] == DATA[start : start + length]
    assert len(pages) == len(DATA)


def test_what_was_read_long_ago_is_not_kept_but_for_the_beginning() -> None:
    """Sixteen scenes may be opened at a time, and of some every page is looked at."""
    fetched: list[int] = []

    def read(start: int, length: int) -> bytes:
        fetched.append(start)
        return DATA[start : start + length]

    pages = Pages(read, len(DATA))
    for start in range(0, len(DATA), 1 << 16):
        assert pages[start : start + 12] == DATA[start : start + 12]
        assert pages[:4] == DATA[:4]
    assert len(set(fetched)) == len(fetched), "a page was fetched twice"
    assert sum(map(len, pages._pages.values())) < 5_000_000
