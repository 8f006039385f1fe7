"""Files of this machine; the functions are what `Store` describes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TypeVar

from pipelines.storage.errors import FileTooLargeError, LockedError, TransientError

Result = TypeVar("Result")

SECONDS_BETWEEN_ATTEMPTS = (0.1, 0.5)

# Of network file systems, of disks, and of a machine that lacks something for a moment.
_TRANSIENT = frozenset(
    (
        *(errno.EAGAIN, errno.EBUSY, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
        *(errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET),
    )
)


def read(path: str, max_bytes: int | None = None) -> bytes:
    """Read a whole file; what fails for a reason that passes is tried again."""
    return _patiently(lambda: _read(path, max_bytes))


def write(path: str, data: bytes) -> None:
    """Write a whole file so that a reader sees all of it or none of it."""
    partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with create(partial) as file:
            file.write(data)
        move(partial, path)
    except BaseException:
        delete([partial])
        raise


def create(path: str) -> IO[bytes]:
    """Open a new file for writing, making the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, "wb")


def move(source: str, target: str) -> None:
    """Move a file into place, replacing what is there."""
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    # The name may reach the disk before the bytes do: a loss of power would leave an empty file in the place.
    sync(source)
    os.replace(source, target)
    sync(folder)


def read_range(path: str, start: int, length: int) -> bytes:
    """Read so many bytes of a file, fewer at its end."""

    def read() -> bytes:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    return _patiently(read)


def open_to_read(path: str) -> IO[bytes]:
    """Open a file for reading."""
    return open(path, "rb")


def exists(path: str) -> bool:
    """Tell whether there is a file."""
    return os.path.isfile(path)


def sync(path: str) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def delete(paths: Sequence[str]) -> None:
    """Delete files; missing ones are no error."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def delete_folder(path: str) -> None:
    """Delete a folder with all that is in it; a missing one is no error."""
    shutil.rmtree(path, ignore_errors=True)


def list_files(folder: str, ending: str = "") -> list[str]:
    """List the files directly in a folder whose names have the ending, sorted; none where there is no such folder."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(f"{folder}/{name}" for name in names if name.endswith(ending))


def list_folders(folder: str, beginning: str = "") -> list[str]:
    """List the folders directly in a folder whose names have the beginning, sorted."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(f"{folder}/{name}" for name in names if name.startswith(beginning))


@contextlib.contextmanager
def lock(path: str, owner: str, waiting: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Hold a lock, which is a file of this path while it is held; there is never anything to wait for.

    It is the kernel's, and ends with the process however that ends: what a killed process leaves behind is an unlocked
    file, never a lock that somebody has to remove. Folders above it are made, and removed again where nothing was put
    into them.
    """
    made = _missing_folders(os.path.dirname(path))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with _open_locked(path) as file:
            try:
                file.truncate(0)
                file.write(owner)
                file.flush()
                yield _leave
            finally:
                # While it is still held, so that it is not another one's file that goes.
                delete([path])
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def read_lock(path: str) -> str:
    """Read who holds a lock."""
    return read(path).decode(errors="replace")


def _leave() -> None:
    raise OSError(errno.ENOTSUP, "a lock on this machine ends with the process that holds it")


def _patiently(work: Callable[[], Result]) -> Result:
    # A disk that does not answer at once is broken more often than busy: seconds suffice here.
    for pause in (*SECONDS_BETWEEN_ATTEMPTS, None):
        try:
            return work()
        except OSError as error:
            if error.errno not in _TRANSIENT:
                raise
            if pause is None:
                raise TransientError(error.errno, error.strerror) from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _read(path: str, max_bytes: int | None) -> bytes:
    with open(path, "rb") as file:
        if max_bytes is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        # Asked for `max_bytes`, Python would set that much memory aside for the smallest file.
        data = file.read(size + 1) if size <= max_bytes else b""
        # What is no regular file may have a size of 0 and no end, and a file may grow while it is read.
        while size < len(data) <= max_bytes:
            size = len(data)
            data += file.read(min(size, max_bytes + 1 - size))
        if max(size, len(data)) > max_bytes:
            raise FileTooLargeError(f"{max(size, len(data)):,} bytes: more than the {max_bytes:,} that are read")
        return data


def _open_locked(path: str) -> IO[str]:
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it is the caller who closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                # Its last holder may have removed it between the opening and the locking.
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    return file
        except BlockingIOError:
            file.seek(0)
            owner = file.read()
            file.close()
            raise LockedError(owner) from None
        except BaseException:
            file.close()
            raise
        file.close()


def _missing_folders(folder: str) -> list[str]:
    """List a folder and those above it that are not there, the lowest first."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing
