"""Read-only access to storage that Beam has a file system for, e.g. hdfs:// or azfs://.

An output needs atomic writes and a lock, which Beam's file systems do not promise.
"""

from __future__ import annotations

import errno
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import IO, Any, NoReturn
from urllib.parse import unquote

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.credentials import without_secrets
from pipelines.storage.errors import NoAccessError, refused, unreachable
from pipelines.storage.objects import Entry, Page, PageRequest, Stored

_BYTES_AT_ONCE = 1 << 20
_EXTRAS = {"hdfs": "hadoop", "azfs": "azure"}
_WITHOUT_LIBRARY = (ImportError, NameError)
"""Raised by a file system of Beam whose library is not installed: some continue without what they could not import."""
_MISSING = re.compile(r"\b(not found|no such file|does not exist)\b", re.IGNORECASE)
_NO_FOLDER = re.compile(r"\bnot a directory\b", re.IGNORECASE)
_FORBIDDEN = re.compile(r"\bpermission denied\b", re.IGNORECASE)
"""What file systems say that have neither a class nor a code for it, as that of HDFS."""


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
        for data in self._read(self._path(bucket, key), start, length):
            into.write(data)
        return Stored("")

    def look_up(self, bucket: str, key: str) -> Entry:
        """Return a file's metadata without reading it."""
        path = self._path(bucket, key)
        with self._translated_errors(path):
            # For the metadata of a missing file, every file system raises a different error.
            if not self._system.exists(path):
                raise FileNotFoundError(errno.ENOENT, "Not Found")
            found = self._system.metadata(path)
            if self._open_folder(found) is not None:
                raise FileNotFoundError(errno.ENOENT, "it is a folder")
            return _entry(found)

    def page(self, asked: PageRequest) -> Page:
        """List all files whose names start with a prefix, as one page; folders are never requested."""
        path = self._path(asked.bucket, asked.prefix)
        with self._translated_errors(path):
            # A file system with folders lists a folder, not a prefix.
            listed = self._list(posixpath.dirname(path) if self._system.has_dirs() else path)
            entries = sorted(_entry(found) for found in self._files(listed or [], path))
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

    def _read(self, path: str, start: int, length: int | None) -> Iterator[bytes]:
        with (
            self._translated_errors(path),
            # By default Beam decompresses files that are named like compressed ones.
            self._system.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file,
        ):
            if start:
                file.seek(start)
            missing = length
            while missing is None or missing > 0:
                data = file.read(_BYTES_AT_ONCE if missing is None else min(missing, _BYTES_AT_ONCE))
                if not data:
                    return
                yield data
                missing = None if missing is None else missing - len(data)

    def _files(self, listed: Sequence[Any], prefix: str) -> Iterator[Any]:
        """Yield those of the files listed, and below the folders listed, whose paths start with a prefix."""
        for found in listed:
            if not (found.path.startswith(prefix) or prefix.startswith(f"{found.path}/")):
                continue
            inside = self._open_folder(found)
            if inside is not None:
                yield from self._files(inside, prefix)
            elif found.path.startswith(prefix):
                yield found

    def _open_folder(self, found: Any) -> Sequence[Any] | None:
        """List what is in a folder; return None for a file. Their metadata differ by nothing but a size of 0."""
        return self._list(found.path) if self._system.has_dirs() and not found.size_in_bytes else None

    def _list(self, path: str) -> Sequence[Any] | None:
        """List a folder, or files by a prefix where there are no folders; return None for a file."""
        try:
            return list(self._system._list(path))
        except FileNotFoundError:
            return []
        except BeamIOError as error:
            cause = _cause(error)
            if _NO_FOLDER.search(str(cause)):
                return None
            if isinstance(_as_file_error(cause, path), FileNotFoundError):
                return []
            raise

    @contextmanager
    def _translated_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except BeamIOError as error:
            raise self._translate(_cause(error), path) from error
        except Exception as error:
            # E.g. HdfsError, or one of the library that sends its requests: Beam does not wrap all of them.
            raise self._translate(error, path) from error

    def _translate(self, cause: Exception, path: str) -> Exception:
        """Return what a file system raised as the error that every storage has for it."""
        # Of values, where a flag is missing or malformed: trying again would not help.
        if isinstance(cause, (*_WITHOUT_LIBRARY, ValueError, TypeError)) and not isinstance(cause, OSError):
            return _no_access(self._scheme, cause)
        return _as_file_error(cause, path)

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


def _as_file_error(cause: Exception, path: str) -> OSError:
    """Return what a file system raised of a file as the error that every storage has for it."""
    if isinstance(cause, OSError) and cause.errno is not None:
        return unreachable(cause) if isinstance(cause, ConnectionError | TimeoutError) else cause
    status = getattr(cause, "code", None) or getattr(cause, "status_code", None)
    # Names may consist of any words.
    words = unquote(str(cause)).replace(path.partition("://")[2], "")
    if isinstance(cause, FileNotFoundError) or (status is None and _MISSING.search(words)):
        status = HTTPStatus.NOT_FOUND
    elif isinstance(cause, PermissionError) or (status is None and _FORBIDDEN.search(words)):
        status = HTTPStatus.FORBIDDEN
    said = str(getattr(cause, "message", "") or cause)
    return refused(status, said) if isinstance(status, int) else unreachable(cause)


def _no_access(scheme: str, cause: Exception) -> NoAccessError:
    extra = _EXTRAS.get(scheme)
    if isinstance(cause, _WITHOUT_LIBRARY) and extra:
        return NoAccessError(f"{scheme}:// needs a library of Beam's", f"run pip install 'apache-beam[{extra}]'")
    reason = " ".join(without_secrets(str(cause)).split()).rstrip(".")
    return NoAccessError(f"cannot access {scheme}://: {reason}", "give Beam's own flags for it")
