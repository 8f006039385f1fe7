"""Storage that Beam has a file system for, e.g. hdfs:// or azfs://; it can be read, and not written to.

An output needs writes that are seen whole or not at all, and a lock. What Beam's file systems promise is less.
"""

from __future__ import annotations

import errno
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems

from pipelines.storage.errors import NoAccessError, refused, unreachable, without_secrets
from pipelines.storage.objects import Entry, Page

_BYTES_AT_ONCE = 1 << 20
_MISSING = re.compile(r"not found|no such|does not exist|404", re.IGNORECASE)


def has_file_system(scheme: str) -> bool:
    """Tell whether Beam has a file system for a scheme, its libraries being installed."""
    return any(system.scheme() == scheme for system in FileSystem.get_all_subclasses())


class BeamObjects:
    """One of Beam's file systems as a provider of buckets; see `Objects`."""

    def __init__(self, scheme: str) -> None:
        """Find the file system.

        Raises:
          NoAccessError: Beam has none for the scheme, or a library is missing that it needs.
        """
        self._scheme = scheme
        try:
            self._system: Any = FileSystems.get_filesystem(f"{scheme}://")
        except (ValueError, ImportError, BeamIOError) as error:
            raise NoAccessError(f"{scheme}:// cannot be reached: {without_secrets(str(error))}") from error

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> str:
        """Read a file, or a range of it."""
        path = self._path(bucket, key)
        # Left to itself, Beam would unpack what is named like a compressed file.
        with _errors_told(), self._system.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            if start:
                file.seek(start)
            missing = length
            while missing is None or missing > 0:
                data = file.read(_BYTES_AT_ONCE if missing is None else min(missing, _BYTES_AT_ONCE))
                if not data:
                    break
                into.write(data)
                missing = None if missing is None else missing - len(data)
        return ""

    def look_up(self, bucket: str, key: str) -> Entry:
        """Tell of a file without reading it."""
        path = self._path(bucket, key)
        with _errors_told():
            # Asked for the metadata of what is not there, every file system raises something else.
            if not self._system.exists(path):
                raise FileNotFoundError(errno.ENOENT, "Not Found")
            return _entry(self._system.metadata(path))

    def page(self, bucket: str, prefix: str, following: str | None = None, delimiter: str = "") -> Page:
        """List all files whose names begin with a prefix, as one page; folders are never asked for."""
        path = self._path(bucket, prefix)
        # Where there are folders, what is listed is one.
        folder = posixpath.dirname(path) if self._system.has_dirs() else path
        with _errors_told():
            try:
                listed = list(self._system._list(folder))
            except FileNotFoundError:
                listed = []
        entries = sorted(_entry(found) for found in listed if found.path.startswith(path))
        return Page(entries, [], None)

    def put(self, bucket: str, key: str, data: IO[bytes], expected: str | None = None) -> str:
        """Refuse."""
        self._refuse()

    def copy(self, bucket: str, source: str, target: str) -> None:
        """Refuse."""
        self._refuse()

    def delete(self, bucket: str, key: str) -> None:
        """Refuse."""
        self._refuse()

    def _path(self, bucket: str, key: str) -> str:
        return f"{self._scheme}://{bucket}/{key}"

    def _refuse(self) -> NoReturn:
        raise OSError(errno.EROFS, f"{self._scheme}:// can be read, and not written to")


def _entry(metadata: Any) -> Entry:
    changed = metadata.last_updated_in_seconds
    size = int(metadata.size_in_bytes)
    return Entry(metadata.path, size, f"{size}-{changed}")


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except BeamIOError as error:
        causes = list((error.exception_details or {}).values())
        cause = causes[0] if causes else error
        if isinstance(cause, FileNotFoundError) or _MISSING.search(str(cause)):
            raise refused(404, str(cause)) from error
        if isinstance(cause, PermissionError):
            raise refused(403, str(cause)) from error
        raise unreachable(cause if isinstance(cause, Exception) else error) from error
