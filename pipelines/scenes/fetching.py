"""Fetch pieces of a file, those that lie close to one another at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_GAP = 1 << 16
"""Bytes between two strips or tiles that are fetched with them rather than asked for separately."""

Fetch = Callable[[int, int], bytes]
"""Returns a number of bytes from a place in a file on; fewer at its end."""


def fetch_spans(spans: Sequence[tuple[int, int]], fetch: Fetch) -> list[bytes | memoryview]:
    """Fetch pieces of a file.

    Args:
      spans: first byte and number of bytes of each; 0 and 0 of those that are not there.
      fetch: bytes of the file.

    Raises:
      OSError: they cannot be fetched.
    """
    fetched: dict[tuple[int, int], bytes | memoryview] = {(0, 0): b""}
    for run in _runs(sorted(set(spans) - {(0, 0)})):
        start = run[0][0]
        data = memoryview(fetch(start, max(at + size for at, size in run) - start))
        for at, size in run:
            fetched[at, size] = data[at - start : at - start + size]
    return [fetched[span] for span in spans]


def _runs(spans: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    runs: list[list[tuple[int, int]]] = []
    end = -_GAP
    for start, size in spans:
        if not runs or start > end + _GAP:
            runs.append([])
            end = start
        runs[-1].append((start, size))
        end = max(end, start + size)
    return runs
