"""Objects in buckets as Python's files, to be read in ranges or written at once."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from typing import IO, Any

READ_AHEAD = 1 << 20
"""Bytes that are fetched at once where few are read."""

IN_MEMORY = 1 << 24
"""Bytes of an object that are held in memory while it is written or unpacked; larger ones go through the disk."""


def open_ranges(size: int, fetch: Callable[[int, int], bytes]) -> IO[bytes]:
    """Open an object of `size` bytes for reading; `fetch` returns so many of them from a place on."""
    return io.BufferedReader(_Ranges(size, fetch), READ_AHEAD)


def open_upload(put: Callable[[IO[bytes]], object]) -> IO[bytes]:
    """Open a new object for writing; `put` gets all of it once it is closed."""
    return _Upload(put)  # type: ignore[return-value]


class _Ranges(io.RawIOBase):
    """An object as a file that fetches only the bytes that are read."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readall(self) -> bytes:
        # One request; the default of `io` would be one for every few kilobytes.
        return self._read(max(0, self._size - self._position))

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        data = self._read(length)
        buffer[: len(data)] = data
        return len(data)

    def _read(self, length: int) -> bytes:
        data = self._fetch(self._position, length)
        self._position += len(data)
        return data


class _Upload:
    """A file that becomes an object when it is closed, and is discarded otherwise.

    Not a subclass of `io.IOBase`, because those close themselves when they are garbage-collected.
    """

    def __init__(self, put: Callable[[IO[bytes]], object]) -> None:
        self._put = put
        self._data: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - `close` closes it

    def __enter__(self) -> _Upload:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._data.close()

    @property
    def closed(self) -> bool:
        return bool(self._data.closed)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return int(self._data.write(data))

    def tell(self) -> int:
        return int(self._data.tell())

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if not self._data.closed:
            with self._data:
                self._put(self._data)
