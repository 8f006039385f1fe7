"""Folders for temporary files that a later run removes if this one is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipelines.errors import ScenetagsError

PREFIX = "scenetags-"
MARK = ".made-by-scenetags"
"""A file that distinguishes these folders from a user's own of a similar name."""
_REMEDY = "set TMPDIR to a folder with free space"


class TemporaryFolderError(ScenetagsError):
    """There is no place for temporary files."""


@contextmanager
def temporary_folder() -> Iterator[str]:
    """Make a folder that is deleted at the end, and delete those of processes that were killed.

    Its maker holds a lock on it, which the kernel releases however the process ends.

    Raises:
      TemporaryFolderError: it cannot be made.
    """
    remove_abandoned()
    try:
        folder, lock = _make_locked()
    except OSError as error:
        raise TemporaryFolderError(f"cannot create a temporary folder: {error.strerror or error}", _REMEDY) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def working_folder(needs: int = 0) -> Iterator[str]:
    """Make such a folder for work that writes nowhere else.

    Args:
      needs: bytes that will be written there; for libraries that do not say that a disk is full.

    Raises:
      TemporaryFolderError: it cannot be made, or it is too small.
    """
    with temporary_folder() as folder:
        place = os.path.dirname(folder)
        if (free := shutil.disk_usage(folder).free) < needs:
            raise TemporaryFolderError(
                f"{place} has {free / 1e6:,.0f} MB free, and temporary files need {needs / 1e6:,.0f} MB",
                _REMEDY,
            )
        try:
            yield folder
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise TemporaryFolderError(f"no space left for temporary files in {place}", _REMEDY) from error


@contextmanager
def temporary_files() -> Iterator[None]:
    """Have the temporary files of the whole process made in such a folder, also those of its libraries.

    Raises:
      TemporaryFolderError: it cannot be made.
    """
    before = tempfile.tempdir
    with temporary_folder() as tempfile.tempdir:
        try:
            yield
        finally:
            tempfile.tempdir = before


def remove_abandoned() -> None:
    """Delete the temporary folders of this user's processes that have ended without doing so."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                # Most often because it is in use, or belongs to somebody else.
                with suppress(OSError):
                    _remove_if_abandoned(entry.path)


def _remove_if_abandoned(folder: str) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid != os.geteuid() or not os.path.lexists(os.path.join(folder, MARK)):
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(lock)


def _make_locked() -> tuple[str, int]:
    folder = tempfile.mkdtemp(prefix=PREFIX)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    # Without locks, as on some network file systems, nobody else gets one either, and the folder stays.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        # Marked only once it is locked: until then, nobody takes it for an abandoned one.
        os.close(os.open(os.path.join(folder, MARK), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        os.close(lock)
        os.rmdir(folder)
        raise
    return folder, lock
