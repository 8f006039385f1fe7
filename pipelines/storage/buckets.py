"""Objects in buckets as files: folders are key prefixes, and nothing is ever half written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import posixpath
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, TypeVar

from pipelines.storage.errors import ChangedFileError, NoAccessError, UnsupportedStorageError
from pipelines.storage.gzipped import bytes_of_head, is_compressed, unpack, unpack_head, unpack_to_disk
from pipelines.storage.locks.leases import lease
from pipelines.storage.locks.objects import LockObject, read_owner
from pipelines.storage.object_files import IN_MEMORY, READ_AHEAD, open_ranges, open_upload
from pipelines.storage.objects import (
    CONNECTIONS,
    PAGE_SIZE,
    Entry,
    LimitedBuffer,
    Move,
    Objects,
    Page,
    PageRequest,
    Stored,
)
from pipelines.storage.patience import patiently
from pipelines.storage.spelling import unmarked

Item = TypeVar("Item")
Result = TypeVar("Result")


class BucketStore:
    """The buckets of one provider; see `Store`."""

    def __init__(self, objects: Objects) -> None:
        """Wrap a provider's single attempts."""
        self._objects = objects
        self._unpacking = threading.Lock()
        self._unpacked: tuple[tuple[str, str], IO[bytes]] | None = None

    def read(self, path: str, max_bytes: int | None = None) -> bytes:
        """Read a whole object."""
        data, stored = self._get(path, max_bytes)
        return unpack(data, max_bytes) if stored.marked and is_compressed(path, data) else data

    def read_range(self, path: str, start: int, length: int, fingerprint: str = "") -> bytes:
        """Read a range of an object; fewer bytes if it ends before."""
        if not length:
            # HTTP has no empty range: the whole object would be sent.
            return b""
        data = b""
        try:
            data, stored = self._get(path, length, start, length)
            head = self._get(path, 2, 0, 2)[0] if start and stored.marked else data
        except ChangedFileError:
            # What is compressed ends before what it unpacks to does: a range may lie behind its end.
            head, stored = self._get(path, 2, 0, 2)
            if not stored.marked or not is_compressed(path, head):
                raise
        # Beam's file systems do not tell the version of what they read.
        if fingerprint and stored.version and stored.version.strip('"') != fingerprint:
            raise ChangedFileError
        if not stored.marked or not is_compressed(path, head):
            return data
        if not start:
            most = bytes_of_head(length)
            return unpack_head(self._get(path, most, 0, most)[0], length)
        # Its place is known only once all before it is unpacked.
        with self._unpacking:
            if self._unpacked is None or self._unpacked[0] != (path, stored.version):
                self._unpacked = (path, stored.version), self._unpack(path, stored.version)
            return os.pread(self._unpacked[1].fileno(), length, start)

    def open_to_read(self, path: str, fingerprint: str = "") -> IO[bytes]:
        """Open an object, fetching ranges as they are read."""
        entry = self.look_up(path)
        if fingerprint and entry.fingerprint != fingerprint:
            raise ChangedFileError
        # Too small to be worth further requests.
        whole = entry.size <= READ_AHEAD
        if not whole and not entry.marked:
            return self._open_ranges(entry)
        length = None if whole else 2
        data, stored = self._get(path, length, 0, length)
        if fingerprint and stored.version and stored.version.strip('"') != fingerprint:
            raise ChangedFileError
        if stored.marked and is_compressed(path, data):
            return unpack_to_disk([data]) if whole else self._unpack(path, stored.version)
        return io.BytesIO(data) if whole else self._open_ranges(entry)

    def _open_ranges(self, entry: Entry) -> IO[bytes]:
        def fetch(start: int, length: int) -> bytes:
            return self.read_range(entry.path, start, length, entry.fingerprint)

        return open_ranges(entry.size, fetch)

    def write(self, path: str, data: bytes) -> None:
        """Write a whole object."""
        patiently(lambda: self._objects.put(*_split(path), io.BytesIO(data)))

    def create(self, path: str) -> IO[bytes]:
        """Open a new object for writing; it exists once it is closed."""
        bucket, key = _split(path)
        return open_upload(lambda data: patiently(lambda: self._objects.put(bucket, key, data)))

    def move(self, source: str, target: str) -> None:
        """Copy an object to its new key and delete the old one."""
        (bucket, key), (_, new_key) = _split(source), _split(target)
        patiently(lambda: self._objects.copy(bucket, key, new_key))
        self.delete([source])

    def move_all(self, moves: Sequence[Move]) -> list[Move]:
        """Copy objects to their new keys, and then delete the old ones."""

        def copy(move: Move) -> bool:
            (bucket, key), (_, new_key) = _split(move.source), _split(move.target)
            try:
                patiently(lambda: self._objects.copy(bucket, key, new_key))
            except FileNotFoundError:
                return False
            return True

        copied = _side_by_side(copy, moves)
        self.delete([move.source for move, done in zip(moves, copied, strict=True) if done])
        return [move for move, done in zip(moves, copied, strict=True) if not done]

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

    def sync_all(self, paths: Sequence[str]) -> None:
        """Check that objects exist: then they are durable."""
        there: set[str] = set()
        for folder in {posixpath.dirname(path) for path in paths}:
            there.update(self.list_sizes(folder))
        # Whether one is missing is for the store to say, and not for a listing, which may be late.
        _side_by_side(self.look_up, [path for path in paths if path not in there])

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, ignoring missing ones."""
        by_bucket: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            bucket, key = _split(path)
            by_bucket[bucket].append(key)
        for bucket, keys in by_bucket.items():
            self._delete(bucket, keys)

    def _delete(self, bucket: str, keys: Sequence[str]) -> None:
        def delete_some(some: Sequence[str]) -> Collection[str]:
            # Some stores know no such request, or not its checksum, or are asked for too many at a time.
            with contextlib.suppress(OSError):
                return self._objects.delete_all(bucket, some) if len(some) > 1 else some
            return some

        def delete(key: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                patiently(lambda: self._objects.delete(bucket, key))

        most = self._objects.deletions_at_once
        left = _side_by_side(delete_some, [keys[at : at + most] for at in range(0, len(keys), most)])
        _side_by_side(delete, [key for some in left for key in some])

    def delete_folder(self, path: str) -> None:
        """Delete all objects below a prefix, leaving whatever cannot be deleted."""
        with contextlib.suppress(OSError, NoAccessError):
            self.delete([entry.path for entry in self.walk(f"{path}/")])

    def list_files(self, folder: str, ending: str = "") -> list[str]:
        """List the objects directly below a prefix."""
        return list(self.list_sizes(folder, ending))

    def list_sizes(self, folder: str, ending: str = "") -> dict[str, int]:
        """Return the sizes in bytes of the objects directly below a prefix."""
        return {entry.path: entry.size for entry in self._directly_below(folder, ending)}

    def list_fingerprints(self, folder: str, ending: str = "") -> dict[str, str]:
        """Return the fingerprints of the objects directly below a prefix."""
        return {entry.path: entry.fingerprint for entry in self._directly_below(folder, ending)}

    def _directly_below(self, folder: str, ending: str) -> list[Entry]:
        below = sorted(entry for page in self._pages(f"{folder}/", "/") for entry in page.entries)
        return [entry for entry in below if entry.path.endswith(ending) and not entry.path.endswith("/")]

    def list_deeper(self, folder: str, ending: str) -> Iterator[str]:
        """List the objects below the prefixes below a prefix."""
        for below in self.list_folders(folder):
            yield from (entry.path for entry in self.walk(f"{below}/") if entry.path.endswith(ending))

    def list_folders(self, folder: str, beginning: str = "") -> list[str]:
        """List the prefixes directly below a prefix."""
        below = {name for page in self._pages(f"{folder}/{beginning}", "/") for name in page.folders}
        scheme_and_bucket = "/".join(folder.split("/", 3)[:3])
        return sorted(f"{scheme_and_bucket}/{name.rstrip('/')}" for name in below)

    def walk(self, prefix: str, after: str = "", until: str = "") -> Iterator[Entry]:
        """List the objects whose paths start with a prefix, page by page, or those of them in a range."""
        last = after
        for page in self._pages(prefix, after=after):
            if not after and not until:
                yield from page.entries
                continue
            for entry in page.entries:
                if until and entry.path > until:
                    return
                if entry.path > last:
                    last = entry.path
                    yield entry
                elif last != after:
                    # Other ranges would hide what this one shows too late.
                    raise OSError(errno.EIO, f"the bucket lists {entry.path} after {last}, not in the order of names")

    def peek(self, prefix: str, after: str, most: int) -> tuple[list[str], bool]:
        """Return the first paths after a place, and whether there are more."""
        for page in self._pages(prefix, after=after, most=most):
            # A page may be empty, or hold no more than the place itself.
            if paths := [entry.path for entry in page.entries if entry.path > after]:
                return paths, page.following is not None
        return [], False

    def lock(
        self, path: str, owner: str, tell: Callable[[str], None], sleep: Callable[[float], None]
    ) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Hold a lock that has to be renewed."""
        lock = LockObject(self._objects, *_split(path), owner)
        lock.check_deletion()
        return lease(lock, tell, sleep)

    def read_lock(self, path: str) -> str:
        """Return the owner of a lock."""
        return read_owner(self.read(path))

    def _get(self, path: str, most: int | None, start: int = 0, length: int | None = None) -> tuple[bytes, Stored]:
        """Read an object, or a range of it, as it is stored."""

        def get() -> tuple[bytes, Stored]:
            into = LimitedBuffer(most)
            stored = self._objects.get(*_split(path), into, start, length)
            return into.getvalue(), stored

        return patiently(get)

    def _unpack(self, path: str, version: str) -> IO[bytes]:
        def piece(start: int) -> bytes:
            data, stored = self._get(path, IN_MEMORY, start, IN_MEMORY)
            if stored.version != version:
                raise ChangedFileError
            return data

        return unpack_to_disk(map(piece, range(0, self.look_up(path).size, IN_MEMORY)))

    def _pages(self, path: str, delimiter: str = "", after: str = "", most: int = PAGE_SIZE) -> Iterator[Page]:
        bucket, prefix = _split(path)
        asked = PageRequest(bucket, prefix, delimiter, _split(after)[1] if after else "", most)
        while True:
            page = patiently(partial(self._objects.page, asked))
            yield page
            if page.following is None:
                return
            asked = asked._replace(following=page.following)


def _side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Do something for each item, in as many threads as there are connections, and return the results in their order.

    After an error, whatever has not begun is left out.
    """
    if len(items) < 2:
        return list(map(work, items))
    with ThreadPoolExecutor(min(CONNECTIONS, len(items)), thread_name_prefix="buckets") as executor:
        return list(executor.map(work, items))


def _split(path: str) -> tuple[str, str]:
    """Split a path into bucket and key, verbatim: no character is special."""
    bucket, _, key = unmarked(path).partition("://")[2].partition("/")
    if not bucket:
        raise UnsupportedStorageError(f"{path} names no bucket", f"write {path.partition('://')[0]}://BUCKET/PATH")
    return bucket, key
