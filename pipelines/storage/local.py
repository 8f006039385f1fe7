"""Files on this machine; the functions implement `Store`."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar

from pipelines.errors import quantity
from pipelines.storage.errors import PASSING_ERRORS, ChangedFileError, FileTooLargeError, TransientError
from pipelines.storage.locks.files import LockFile, read_owner
from pipelines.storage.locks.leases import lease
from pipelines.storage.objects import Move
from pipelines.storage.patience import patiently

Result = TypeVar("Result")

SECONDS_BETWEEN_ATTEMPTS = (0.1, 0.5)
"""Short pauses: a disk that does not answer at once is more likely broken than busy."""

_KEPT = 50
"""Characters of a name, each of up to four bytes."""

# Some file systems, e.g. on networks, cannot wait for the entries of a folder, and have no need to.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF)


def read(path: str, max_bytes: int | None = None) -> bytes:
    """Read a whole file, retrying transient errors."""
    return retried(lambda: _read(path, max_bytes))


def write(path: str, data: bytes) -> None:
    """Write a whole file atomically."""
    folder, name = os.path.split(path)
    # The name may be as long as a file system allows.
    partial = os.path.join(folder, f"{name[:_KEPT]}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with create(partial) as file:
            file.write(data)
        move(partial, path)
    except BaseException:
        delete([partial])
        raise


def create(path: str) -> IO[bytes]:
    """Open a new file for writing, creating its parent folders."""
    _make_folders(os.path.dirname(path))
    return open(path, "wb")


def move(source: str, target: str) -> None:
    """Move a file, replacing any existing target."""
    _replace(source, target)
    sync(os.path.dirname(target))


def move_all(moves: Sequence[Move]) -> list[Move]:
    """Move files, and return the moves whose source is missing."""
    missing = []
    for move in moves:
        try:
            _replace(*move)
        except FileNotFoundError:
            missing.append(move)
    # Once for all of them: in any order, each is in its old place or in its new one.
    for folder in {os.path.dirname(move.target) for move in moves}:
        sync(folder)
    return missing


def fingerprint_of(status: os.stat_result) -> str:
    """Return what changes when a file does, from what the system says of it."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def read_range(path: str, start: int, length: int, fingerprint: str = "") -> bytes:
    """Read a range of a file; fewer bytes if it ends before."""

    def read() -> bytes:
        with _open(path, fingerprint) as file:
            file.seek(start)
            return file.read(length)

    return retried(read)


def open_to_read(path: str, fingerprint: str = "") -> IO[bytes]:
    """Open a file for reading, retrying transient errors."""
    return retried(lambda: _open(path, fingerprint))


def exists(path: str) -> bool:
    """Return whether a file exists."""
    return os.path.isfile(path)


def leads_away(folder: str, path: str) -> bool:
    """Return whether a path below a folder is a link, lies behind one, or is a folder on another disk."""
    if os.path.realpath(path) != os.path.join(os.path.realpath(folder), os.path.relpath(path, folder)):
        return True
    # No file can be moved there, and some file systems number the disk of files otherwise than that of folders.
    return os.path.isdir(path) and os.stat(path).st_dev != os.stat(folder).st_dev


def sync_all(paths: Sequence[str]) -> None:
    """Wait until files are on disk."""
    for path in paths:
        sync(path)


def sync(path: str) -> None:
    """Wait until a file, or a folder's entries, are on disk."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(opened)


def delete(paths: Sequence[str]) -> None:
    """Delete files, ignoring missing ones."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def delete_folder(path: str) -> None:
    """Delete a folder and its contents; a missing folder is ignored."""
    shutil.rmtree(path, ignore_errors=True)


def list_files(folder: str, ending: str = "") -> list[str]:
    """List the files directly in a folder whose names end with `ending`, sorted; none if the folder is missing."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(f"{folder}/{name}" for name in names if name.endswith(ending))


def list_sizes(folder: str, ending: str = "") -> dict[str, int]:
    """Return the sizes in bytes of the files that `list_files` lists."""
    return {path: os.path.getsize(path) for path in list_files(folder, ending)}


def list_fingerprints(folder: str, ending: str = "") -> dict[str, str]:
    """Return the fingerprints of the files that `list_files` lists."""
    found = {}
    for path in list_files(folder, ending):
        # What has been deleted since it was listed is not there.
        with contextlib.suppress(FileNotFoundError):
            found[path] = fingerprint_of(os.stat(path))
    return found


def list_deeper(folder: str, ending: str) -> Iterator[str]:
    """List the files in sub-folders whose names end with `ending`, and sub-folders that are links."""
    for parent, folders, files in os.walk(folder):
        yield from (path for name in sorted(folders) if os.path.islink(path := f"{parent}/{name}"))
        if parent != folder:
            yield from (f"{parent}/{name}" for name in sorted(files) if name.endswith(ending))


def list_folders(folder: str, beginning: str = "") -> list[str]:
    """List the folders directly in a folder whose names start with `beginning`, sorted; links are not folders."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(f"{folder}/{name}" for name in names if name.startswith(beginning))


@contextlib.contextmanager
def lock(
    path: str, owner: str, tell: Callable[[str], None], sleep: Callable[[float], None]
) -> Iterator[Callable[[], None]]:
    """Hold a lock: a file that exists while the lock is held.

    Parent folders are created, and removed again if they stay empty.
    """
    made = _missing_folders(os.path.dirname(path))
    try:
        _make_folders(os.path.dirname(path))
        with contextlib.closing(LockFile(path, owner)) as file, lease(file, tell, sleep) as leave:
            yield leave
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def read_lock(path: str) -> str:
    """Return the owner of a lock."""
    return read_owner(path)


def retried(work: Callable[[], Result]) -> Result:
    """Do something with files on this machine, and again after a pause where it fails for a reason that may pass.

    Raises:
      TransientError: it has failed every time.
    """

    def attempt() -> Result:
        try:
            return work()
        except OSError as error:
            if error.errno not in PASSING_ERRORS:
                raise
            raise TransientError(error.errno, error.strerror) from error

    return patiently(attempt, SECONDS_BETWEEN_ATTEMPTS)


class _RegularFile(io.FileIO):
    """A file that is read without waiting: untrusted files may be pipes, or files of the kernel that never end."""

    def __init__(self, path: str, fingerprint: str) -> None:
        super().__init__(path, "rb", opener=_open_regular)
        self._fingerprint = fingerprint

    def readinto(self, buffer: Any) -> int:
        read: int | None = super().readinto(buffer)
        return self._unchanged(_come(read))

    def readall(self) -> bytes:
        return self._unchanged(_come(super().readall()))

    def _unchanged(self, read: Result) -> Result:
        # Afterwards: it may be replaced while it is read.
        if self._fingerprint and self._fingerprint != fingerprint_of(os.fstat(self.fileno())):
            raise ChangedFileError
        return read


def _open(path: str, fingerprint: str = "") -> IO[bytes]:
    return io.BufferedReader(_RegularFile(path, fingerprint))


def _open_regular(path: str, flags: int) -> int:
    # What it leads to is known only once it is open, and opening a pipe would wait for its writer.
    opened = os.open(path, flags | os.O_NONBLOCK)
    try:
        mode = os.fstat(opened).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError("not a regular file")
    except BaseException:
        os.close(opened)
        raise
    return opened


def _come(read: Result | None) -> Result:
    if read is None:
        raise OSError("not a regular file: it has no content yet")
    return read


def _read(path: str, max_bytes: int | None) -> bytes:
    with _open(path) as file:
        if max_bytes is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        # `file.read(max_bytes)` would allocate that much memory even for the smallest file.
        data = file.read(size + 1) if size <= max_bytes else b""
        # The kernel's files have size 0 and may have no end, and any file may grow while it is read.
        while size < len(data) <= max_bytes:
            size = len(data)
            data += file.read(min(size, max_bytes + 1 - size))
        if max(size, len(data)) > max_bytes:
            raise FileTooLargeError(
                f"{quantity(max(size, len(data)), 'byte exceeds', 'bytes exceed')} the limit of {max_bytes:,}"
            )
        return data


def _replace(source: str, target: str) -> None:
    _make_folders(os.path.dirname(target))
    # The name may reach the disk before the data does: a power failure would then leave an empty file.
    sync(source)
    os.replace(source, target)


def _make_folders(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        # By itself it would say that the file, which is in the way, exists.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from error


def _missing_folders(folder: str) -> list[str]:
    """List the folder and its ancestors that do not exist, deepest first."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing
