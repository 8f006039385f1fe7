"""The file that is a lock on this machine, or on a file system that other machines share.

It is renewed like the lock of a bucket, so that it holds on file systems without `flock`, and on those whose `flock`
does not reach another machine or another mount. Where its holder has an flock that this process would see, nothing is
waited for: the kernel releases it however the holder ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable
from itertools import count
from pathlib import Path

from pipelines.storage.errors import PASSING_ERRORS, ConflictError, TransientError, UnsupportedStorageError
from pipelines.storage.locks.lock import Found, content, described

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOST_BYTES = 1 << 16
"""That are read of a lock; an untrusted file may be of any size."""
_BLOCK = 1024
"""A lock is filled up to a multiple of this, so that a renewal overwrites all of the one before."""
_SECONDS_TO_WRITE = 1.0
_TRIES, _PAUSE = 5, 0.01
"""For an flock, which another process that looks at the new file may hold for a moment; seconds."""


class LockFile:
    """One process's access to a lock, in single attempts that raise `OSError`; see `Lock`.

    Who has the lock is decided only by creating and renaming it, which are atomic on every file system. A renewal is
    written to the file that this process created and keeps open: if another process has taken the lock over meanwhile,
    that file has no name, and the renewal harms nobody.
    """

    def __init__(self, path: str, owner: str) -> None:
        """Describe a lock and the process that wants it; nothing is written yet."""
        self._path = path
        self._owner = owner
        self._token = uuid.uuid4().hex
        self._writes = count()
        self._file: io.FileIO | None = None
        self._writing = threading.Lock()
        self._flock = ""

    def write(self, expected: str, left: bool = False) -> str:
        """Write the lock if its version is the expected one, and return the new one.

        Raises:
          ConflictError: its version is another one.
        """
        if not expected:
            self._create(left)
        else:
            found = self.read()
            if found.version != expected:
                raise _conflict("changed")
            if found.ours:
                self._renew(left)
            else:
                self._take_away(lambda moved: moved.version == expected)
                self._create(left)
        written = self.read()
        if not written.ours:
            raise _conflict("taken over")
        return written.version

    def read(self) -> Found:
        """Read the lock, whichever process holds it."""
        return self._read(self._path)

    def delete(self) -> None:
        """Delete the lock, unless another process holds it."""
        try:
            self._take_away(lambda moved: moved.ours)
        except ConflictError:
            return
        except OSError as error:
            if error.errno in PASSING_ERRORS:
                raise TransientError(error.errno, error.strerror) from error
            # Once its flock is released it delays nobody, and is no reason to report a finished run as failed.
            if not self._flock:
                raise

    def close(self) -> None:
        """Release the flock."""
        # A renewal that hangs keeps the file, whose number must not come to mean another one meanwhile.
        if self._file is not None and self._writing.acquire(timeout=_SECONDS_TO_WRITE):
            try:
                self._file.close()
            finally:
                self._writing.release()

    def unsupported(self, what: str) -> UnsupportedStorageError:
        """Return the error for a file system that cannot keep locks.

        Args:
          what: it does, e.g. "ignores ...".
        """
        return UnsupportedStorageError(
            f"the file system of {self._path} {what}, so two runs could write at once",
            "write to a local disk, and copy the output",
        )

    def _create(self, left: bool) -> None:
        try:
            file = _open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError as error:
            raise _conflict("exists") from error
        self.close()
        self._file, self._flock = file, ""
        for _ in range(_TRIES):
            if (free := _flock(file, fcntl.LOCK_EX)) is not False:
                self._flock = _place(file) if free else ""
                break
            time.sleep(_PAUSE)
        try:
            self._renew(left)
        except OSError:
            # Most often the disk is full. Nobody could tell from an empty lock that its holder has ended.
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(file.fileno()), os.lstat(self._path)):
                    os.remove(self._path)
            raise

    def _renew(self, left: bool) -> None:
        if self._file is None:
            raise _conflict("not held")
        data = content(self._owner, self._token, next(self._writes), left, flock=self._flock)
        with self._writing:
            os.pwrite(self._file.fileno(), data.ljust(-(-len(data) // _BLOCK) * _BLOCK), 0)
            # File systems on networks send what was written when a file is closed. It need not reach a disk.
            os.close(os.dup(self._file.fileno()))

    def _read(self, path: str) -> Found:
        try:
            file = _open(path, os.O_RDONLY)
        except FileNotFoundError:
            return Found()
        with file:
            data = file.read(_MOST_BYTES) or b""
            free = _flock(file, fcntl.LOCK_SH)
            said = described(data)
            # Earlier versions of scenetags relied on their flock, and wrote only who they were.
            text = "" if said else data.decode(errors="replace")
            seen = bool(text) or said.get("flock") == _place(file)
        ours = said.get("token") == self._token
        return Found(
            hashlib.sha256(data).hexdigest(),
            str(said.get("owner", text)),
            ours,
            left=bool(said.get("left")),
            alive=free is False and not ours,
            ended=bool(free) and seen and not ours,
        )

    def _take_away(self, expected: Callable[[Found], bool]) -> None:
        """Delete the lock if it is the expected one; of several processes that try, one succeeds.

        Raises:
          ConflictError: it is another one.
        """
        aside = f"{self._path}.{uuid.uuid4().hex[:8]}"
        try:
            os.rename(self._path, aside)
        except FileNotFoundError as error:
            raise _conflict("gone") from error
        if expected(self._read(aside)):
            os.remove(aside)
            return
        # Another process took it over at this moment. If yet another comes before it is back, that one has it.
        try:
            os.link(aside, self._path)
        except FileExistsError:
            pass
        except OSError:
            if not os.path.lexists(self._path):
                os.rename(aside, self._path)
        with contextlib.suppress(FileNotFoundError):
            os.remove(aside)
        raise _conflict("changed")


def read_owner(path: str) -> str:
    """Return the owner of a lock."""
    return LockFile(path, "").read().owner


def _open(path: str, flags: int) -> io.FileIO:
    """Open a lock, but nothing that it leads to, and nothing that would be waited for."""
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, f"{path} is not a file")
    return io.FileIO(opened, "r+" if flags & os.O_RDWR else "r")


def _flock(file: io.FileIO, kind: int) -> bool | None:
    """Return whether an flock is free, and take it if so; None if the file system does not say."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _place(file: io.FileIO) -> str:
    """Name the kernel and the mount that keep the flock of a file; all who are there see it."""
    try:
        return f"{_BOOT.read_text().strip()} {os.fstat(file.fileno()).st_dev}"
    except OSError:
        return uuid.uuid4().hex


def _conflict(what: str) -> ConflictError:
    return ConflictError(errno.EEXIST, what)
