"""Read-only access to storage that Beam has a file system for, e.g. hdfs:// or azfs://.

An output needs atomic writes and a lock, which Beam's file systems do not promise.
"""

from __future__ import annotations

import errno
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NoReturn

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.credentials import without_secrets
from pipelines.storage.errors import NoAccessError, refused, unreachable
from pipelines.storage.objects import PAGE_SIZE, Entry, Page, Stored

_BYTES_AT_ONCE = 1 << 20
_EXTRAS = {"hdfs": "hadoop", "azfs": "azure"}
_WITHOUT_LIBRARY = (ImportError, NameError)
"""Raised by a file system of Beam whose library is not installed: some continue without what they could not import."""
_MISSING = re.compile(r"not found|no such|does not exist|404", re.IGNORECASE)


def has_file_system(scheme: str) -> bool:
    """Return whether Beam has a file system for a scheme; its libraries may be missing."""
    return any(system.scheme() == scheme for system in FileSystem.get_all_subclasses())


class BeamObjects:
    """A Beam file system as a bucket provider; see `Objects`."""

    conditions = "conditions"
    deletions_at_once = 1

    def __init__(self, scheme: str) -> None:
        """Find the file system.

        Raises:
          NoAccessError: Beam has none for the scheme, or one of its libraries is missing.
        """
        self._scheme = scheme
        self.endpoint = f"{scheme}://"
        # Commands that take none of Beam's flags have set no options, and some file systems look theirs up in them.
        if FileSystems._pipeline_options is None:
            FileSystems.set_options(PipelineOptions([]))
        try:
            self._system: Any = FileSystems.get_filesystem(f"{scheme}://")
        except BeamIOError as error:
            raise _no_access(scheme, _cause(error)) from error
        except (ValueError, ImportError) as error:
            raise _no_access(scheme, error) from error

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> Stored:
        """Read a file, or a range of it."""
        path = self._path(bucket, key)
        # By default Beam decompresses files that are named like compressed ones.
        with self._translated_errors(), self._system.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            if start:
                file.seek(start)
            missing = length
            while missing is None or missing > 0:
                data = file.read(_BYTES_AT_ONCE if missing is None else min(missing, _BYTES_AT_ONCE))
                if not data:
                    break
                into.write(data)
                missing = None if missing is None else missing - len(data)
        return Stored("")

    def look_up(self, bucket: str, key: str) -> Entry:
        """Return a file's metadata without reading it."""
        path = self._path(bucket, key)
        with self._translated_errors():
            # For the metadata of a missing file, every file system raises a different error.
            if not self._system.exists(path):
                raise FileNotFoundError(errno.ENOENT, "Not Found")
            return _entry(self._system.metadata(path))

    def page(
        self,
        bucket: str,
        prefix: str,
        following: str | None = None,
        delimiter: str = "",
        after: str = "",
        most: int = PAGE_SIZE,
    ) -> Page:
        """List all files whose names start with a prefix, as one page; folders are never requested."""
        path = self._path(bucket, prefix)
        # A file system with folders lists a folder, not a prefix.
        folder = posixpath.dirname(path) if self._system.has_dirs() else path
        with self._translated_errors():
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

    def delete_all(self, bucket: str, keys: Sequence[str]) -> Collection[str]:
        """Refuse."""
        self._refuse()

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except BeamIOError as error:
            cause = _cause(error)
            if isinstance(cause, FileNotFoundError) or _MISSING.search(str(cause)):
                raise refused(404, str(cause)) from error
            if isinstance(cause, PermissionError):
                raise refused(403, str(cause)) from error
            if isinstance(cause, _WITHOUT_LIBRARY):
                raise _no_access(self._scheme, cause) from error
            raise unreachable(cause) from error
        except _WITHOUT_LIBRARY as error:
            raise _no_access(self._scheme, error) from error

    def _path(self, bucket: str, key: str) -> str:
        return f"{self._scheme}://{bucket}/{key}"

    def _refuse(self) -> NoReturn:
        raise OSError(errno.EROFS, f"{self._scheme}:// is read-only")


def _entry(metadata: Any) -> Entry:
    changed = metadata.last_updated_in_seconds
    size = int(metadata.size_in_bytes)
    return Entry(metadata.path, size, f"{size}-{changed}")


def _cause(error: BeamIOError) -> Exception:
    """Return what a file system raised, which Beam keeps by the path in question."""
    causes = [cause for cause in (error.exception_details or {}).values() if isinstance(cause, Exception)]
    return causes[0] if causes else error


def _no_access(scheme: str, cause: Exception) -> NoAccessError:
    extra = _EXTRAS.get(scheme)
    if isinstance(cause, _WITHOUT_LIBRARY) and extra:
        return NoAccessError(f"{scheme}:// needs a library of Beam's", f"run pip install 'apache-beam[{extra}]'")
    return NoAccessError(f"cannot access {scheme}://: {' '.join(without_secrets(str(cause)).split())}")
