"""Objects in buckets as files: folders are key prefixes, and nothing is ever half written."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from pipelines.storage.errors import NoAccessError, UnsupportedStorageError
from pipelines.storage.leases import lease
from pipelines.storage.lock_objects import LockObject, read_owner
from pipelines.storage.objects import Entry, LimitedBuffer, Objects, Page
from pipelines.storage.patience import patiently
from pipelines.storage.spelling import unmarked

_READ_AHEAD = 1 << 20
_IN_MEMORY = 1 << 24
_AT_ONCE = 16


class BucketStore:
    """The buckets of one provider; see `Store`."""

    def __init__(self, objects: Objects) -> None:
        """Wrap a provider's single attempts."""
        self._objects = objects

    def read(self, path: str, max_bytes: int | None = None) -> bytes:
        """Read a whole object."""

        def get() -> bytes:
            into = LimitedBuffer(max_bytes)
            self._objects.get(*_split(path), into)
            return into.getvalue()

        return patiently(get)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Read a range of an object; fewer bytes if it ends before."""
        if not length:
            # HTTP has no empty range: the whole object would be sent.
            return b""

        def get() -> bytes:
            into = LimitedBuffer(length)
            self._objects.get(*_split(path), into, start, length)
            return into.getvalue()

        return patiently(get)

    def open_to_read(self, path: str) -> IO[bytes]:
        """Open an object, fetching ranges as they are read."""
        entry = self.look_up(path)
        # Too small to be worth further requests.
        if entry.size <= _READ_AHEAD:
            return io.BytesIO(self.read(path))
        return io.BufferedReader(_Ranges(self, entry), _READ_AHEAD)

    def write(self, path: str, data: bytes) -> None:
        """Write a whole object."""
        patiently(lambda: self._objects.put(*_split(path), io.BytesIO(data)))

    def create(self, path: str) -> IO[bytes]:
        """Open a new object for writing; it exists once it is closed."""
        bucket, key = _split(path)
        return _Upload(lambda data: patiently(lambda: self._objects.put(bucket, key, data)))  # type: ignore[return-value]

    def move(self, source: str, target: str) -> None:
        """Copy an object to its new key and delete the old one."""
        (bucket, key), (_, new_key) = _split(source), _split(target)
        patiently(lambda: self._objects.copy(bucket, key, new_key))
        self.delete([source])

    def exists(self, path: str) -> bool:
        """Return whether an object exists."""
        try:
            self.look_up(path)
        except FileNotFoundError:
            return False
        return True

    def look_up(self, path: str) -> Entry:
        """Return an object's metadata without reading it."""
        return patiently(lambda: self._objects.look_up(*_split(path)))

    def leads_away(self, folder: str, path: str) -> bool:
        """Return False: buckets have no links."""
        return False

    def sync(self, path: str) -> None:
        """Check that an object exists: then it is durable."""
        self.look_up(path)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, ignoring missing ones."""

        def delete(path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                patiently(lambda: self._objects.delete(*_split(path)))

        if paths:
            with ThreadPoolExecutor(min(_AT_ONCE, len(paths))) as executor:
                list(executor.map(delete, paths))

    def delete_folder(self, path: str) -> None:
        """Delete all objects below a prefix, leaving whatever cannot be deleted."""
        with contextlib.suppress(OSError, NoAccessError):
            self.delete([entry.path for entry in self.walk(f"{path}/")])

    def list_files(self, folder: str, ending: str = "") -> list[str]:
        """List the objects directly below a prefix."""
        below = [entry.path for page in self._pages(f"{folder}/", "/") for entry in page.entries]
        return sorted(path for path in below if path.endswith(ending) and not path.endswith("/"))

    def list_deeper(self, folder: str, ending: str) -> Iterator[str]:
        """List the objects below the prefixes below a prefix."""
        for below in self.list_folders(folder):
            yield from (entry.path for entry in self.walk(f"{below}/") if entry.path.endswith(ending))

    def list_folders(self, folder: str, beginning: str = "") -> list[str]:
        """List the prefixes directly below a prefix."""
        below = {name for page in self._pages(f"{folder}/{beginning}", "/") for name in page.folders}
        scheme_and_bucket = "/".join(folder.split("/", 3)[:3])
        return sorted(f"{scheme_and_bucket}/{name.rstrip('/')}" for name in below)

    def walk(self, prefix: str) -> Iterator[Entry]:
        """List all objects whose paths start with a prefix, page by page."""
        for page in self._pages(prefix):
            yield from page.entries

    def lock(
        self, path: str, owner: str, tell: Callable[[str], None]
    ) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Hold a lock that has to be renewed."""
        return lease(LockObject(self._objects, *_split(path), owner), tell)

    def read_lock(self, path: str) -> str:
        """Return the owner of a lock."""
        return read_owner(self.read(path))

    def _pages(self, path: str, delimiter: str = "") -> Iterator[Page]:
        bucket, prefix = _split(path)
        following = None
        while True:
            page = patiently(lambda: self._objects.page(bucket, prefix, following, delimiter))  # noqa: B023
            yield page
            following = page.following
            if following is None:
                return


class _Ranges(io.RawIOBase):
    """An object as a file that fetches only the bytes that are read."""

    def __init__(self, store: BucketStore, entry: Entry) -> None:
        self._store = store
        self._entry = entry
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._entry.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readall(self) -> bytes:
        # One request; the default of `io` would be one for every few kilobytes.
        data = self._store.read_range(self._entry.path, self._position, max(0, self._entry.size - self._position))
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._entry.size - self._position)
        if length <= 0:
            return 0
        data = self._store.read_range(self._entry.path, self._position, length)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Upload:
    """A file that becomes an object when it is closed, and is discarded otherwise.

    Not a subclass of `io.IOBase`, because those close themselves when they are garbage-collected.
    """

    def __init__(self, put: Callable[[IO[bytes]], object]) -> None:
        self._put = put
        self._data: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - `close` closes it

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


def _split(path: str) -> tuple[str, str]:
    """Split a path into bucket and key, verbatim: no character is special."""
    bucket, _, key = unmarked(path).partition("://")[2].partition("/")
    if not bucket:
        raise UnsupportedStorageError(f"{path} names no bucket", f"write {path.partition('://')[0]}://BUCKET/PATH")
    return bucket, key
