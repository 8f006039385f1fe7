"""The bytes of a file of which only the beginning, and a few places in the rest, are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipelines import storage
from pipelines.records import File

_PAGE = 1 << 16
"""Bytes fetched at least; the directories of a typical scene."""
_KEPT = 64
"""Pages kept besides the first: the parts of small tiles of a JPEG 2000 are found on nearly all pages of a file."""


class Pages:
    """A file whose bytes are fetched when they are needed, and kept for a while."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        """Begin without any.

        Args:
          read: returns a number of bytes from a place on; fewer at the end of the file.
          size: of the file, in bytes.
        """
        self._read = read
        self._size = size
        self._pages: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        start, stop, _ = span.indices(self._size)
        if start >= stop:
            return b""
        first, last = start // _PAGE, (stop - 1) // _PAGE
        missing = [page for page in range(first, last + 1) if page not in self._pages]
        if missing:
            # At once: what lies between was fetched before, and is small.
            begin, end = missing[0] * _PAGE, (missing[-1] + 1) * _PAGE
            fetched = self._read(begin, end - begin)
            for page in range(missing[0], missing[-1] + 1):
                at = page * _PAGE - begin
                self._pages[page] = fetched[at : at + _PAGE]
        joined = b"".join(self._pages[page] for page in range(first, last + 1))
        # The first one that was fetched is the beginning of the file, which is looked at again and again.
        for page in list(self._pages)[1:-_KEPT]:
            del self._pages[page]
        return joined[start - first * _PAGE : stop - first * _PAGE]


def open_pages(file: File) -> Pages:
    """Return the bytes of a file, of the version that was listed."""
    return Pages(partial(storage.read_range, file.path, fingerprint=file.fingerprint), file.size)
